/**
 * The messages of TensorFlow's model files that importing needs: field names and numbers as the format has them.
 * Fields left out are skipped by the decoder. Source: tensorflow/core/protobuf and tensorflow/core/framework.
 */
export const TENSORFLOW_PROTO = `
syntax = "proto3";
package tensorflow;
message TensorShapeProto { message Dim { int64 size = 1; string name = 2; } repeated Dim dim = 2; bool unknown_rank = 3; }
message ResourceHandleProto { string device = 1; string container = 2; string name = 3; }
message VariantTensorDataProto { string type_name = 1; bytes metadata = 2; repeated TensorProto tensors = 3; }
message TensorProto {
  int32 dtype = 1; TensorShapeProto tensor_shape = 2; bytes tensor_content = 4;
  repeated int32 half_val = 13; repeated float float_val = 5; repeated double double_val = 6; repeated int32 int_val = 7;
  repeated bytes string_val = 8; repeated float scomplex_val = 9; repeated int64 int64_val = 10; repeated bool bool_val = 11;
  repeated double dcomplex_val = 12; repeated ResourceHandleProto resource_handle_val = 14;
  repeated VariantTensorDataProto variant_val = 15; repeated uint32 uint32_val = 16; repeated uint64 uint64_val = 17;
}
message NameAttrList { string name = 1; map<string, AttrValue> attr = 2; }
message AttrValue {
  message ListValue {
    repeated bytes s = 2; repeated int64 i = 3; repeated float f = 4; repeated bool b = 5; repeated int32 type = 6;
    repeated TensorShapeProto shape = 7; repeated TensorProto tensor = 8; repeated NameAttrList func = 9;
  }
  oneof value {
    ListValue list = 1; bytes s = 2; int64 i = 3; float f = 4; bool b = 5; int32 type = 6; TensorShapeProto shape = 7;
    TensorProto tensor = 8; string placeholder = 9; NameAttrList func = 10;
  }
}
message NodeDef { string name = 1; string op = 2; repeated string input = 3; string device = 4; map<string, AttrValue> attr = 5; }
message OpDef {
  message ArgDef { string name = 1; int32 type = 3; string type_attr = 4; string number_attr = 5; string type_list_attr = 6; bool is_ref = 16; }
  string name = 1; repeated ArgDef input_arg = 2; repeated ArgDef output_arg = 3;
}
message FunctionDef {
  message ArgAttrs { map<string, AttrValue> attr = 1; }
  OpDef signature = 1; map<string, AttrValue> attr = 5; map<uint32, ArgAttrs> arg_attr = 7;
  repeated NodeDef node_def = 3; map<string, string> ret = 4; map<string, string> control_ret = 6;
}
message RegisteredGradient { string gradient_func = 1; string registered_op_type = 2; }
message FunctionDefLibrary { repeated FunctionDef function = 1; repeated RegisteredGradient registered_gradients = 3; }
message VersionDef { int32 producer = 1; int32 min_consumer = 2; }
message GraphDef { repeated NodeDef node = 1; VersionDef versions = 4; FunctionDefLibrary library = 2; }
message TensorInfo {
  message CooSparse { string values_tensor_name = 1; string indices_tensor_name = 2; string dense_shape_tensor_name = 3; }
  oneof encoding { string name = 1; CooSparse coo_sparse = 4; }
  int32 dtype = 2; TensorShapeProto tensor_shape = 3;
}
message SignatureDef { map<string, TensorInfo> inputs = 1; map<string, TensorInfo> outputs = 2; string method_name = 3; map<string, TensorProto> defaults = 4; }
message CollectionDef {
  message NodeList { repeated string value = 1; } message BytesList { repeated bytes value = 1; }
  message Any { string type_url = 1; bytes value = 2; } message AnyList { repeated Any value = 1; }
  oneof kind { NodeList node_list = 1; BytesList bytes_list = 2; AnyList any_list = 5; }
}
message AssetFileDef { TensorInfo tensor_info = 1; string filename = 2; }
message MetaInfoDef { string meta_graph_version = 1; repeated string tags = 4; string tensorflow_version = 5; bool stripped_default_attrs = 7; map<string, string> function_aliases = 8; }
message ObjectReference { int32 node_id = 1; string local_name = 2; }
message FunctionSpec { StructuredValue fullargspec = 1; bool is_method = 2; StructuredValue input_signature = 5; }
message SavedFunction { repeated string concrete_functions = 1; FunctionSpec function_spec = 2; }
message SavedBareConcreteFunction { string concrete_function_name = 1; repeated string argument_keywords = 2; int64 allowed_positional_arguments = 3; FunctionSpec function_spec = 4; }
message SavedVariable { int32 dtype = 1; TensorShapeProto shape = 2; bool trainable = 3; string name = 6; repeated SavedVariable experimental_distributed_variable_components = 8; }
message SavedConcreteFunction { repeated int32 bound_inputs = 2; StructuredValue canonicalized_input_signature = 3; StructuredValue output_signature = 4; }
message SavedObject {
  repeated ObjectReference children = 1;
  oneof kind {
    SavedUserObject user_object = 4; SavedAsset asset = 5; SavedFunction function = 6; SavedVariable variable = 7;
    SavedBareConcreteFunction bare_concrete_function = 8; SavedConstant constant = 9; SavedResource resource = 10; CapturedTensor captured_tensor = 12;
  }
}
message SavedUserObject { string identifier = 1; string metadata = 3; }
message SavedAsset { int32 asset_file_def_index = 1; }
message SavedConstant { string operation = 1; }
message SavedResource { string device = 1; }
message CapturedTensor { string name = 1; string concrete_function = 2; }
message SavedObjectGraph { repeated SavedObject nodes = 1; map<string, SavedConcreteFunction> concrete_functions = 2; }
message TensorSpecProto { string name = 1; TensorShapeProto shape = 2; int32 dtype = 3; }
message BoundedTensorSpecProto { string name = 1; TensorShapeProto shape = 2; int32 dtype = 3; TensorProto minimum = 4; TensorProto maximum = 5; }
message TypeSpecProto { int32 type_spec_class = 1; StructuredValue type_state = 2; string type_spec_class_name = 3; }
message NoneValue {}
message ListValue { repeated StructuredValue values = 1; }
message TupleValue { repeated StructuredValue values = 1; }
message DictValue { map<string, StructuredValue> fields = 1; }
message PairValue { string key = 1; StructuredValue value = 2; }
message NamedTupleValue { string name = 1; repeated PairValue values = 2; }
message StructuredValue {
  oneof kind {
    NoneValue none_value = 1; double float64_value = 11; sint64 int64_value = 12; string string_value = 13; bool bool_value = 14;
    TensorShapeProto tensor_shape_value = 31; int32 tensor_dtype_value = 32; TensorSpecProto tensor_spec_value = 33; TypeSpecProto type_spec_value = 34;
    BoundedTensorSpecProto bounded_tensor_spec_value = 35; ListValue list_value = 51; TupleValue tuple_value = 52; DictValue dict_value = 53; NamedTupleValue named_tuple_value = 54;
  }
}
message MetaGraphDef {
  MetaInfoDef meta_info_def = 1; GraphDef graph_def = 2; SaverDef saver_def = 3; map<string, CollectionDef> collection_def = 4;
  map<string, SignatureDef> signature_def = 5; repeated AssetFileDef asset_file_def = 6; SavedObjectGraph object_graph_def = 7;
}
message SaverDef { string filename_tensor_name = 1; string save_tensor_name = 2; string restore_op_name = 3; }
message SavedModel { int64 saved_model_schema_version = 1; repeated MetaGraphDef meta_graphs = 2; }
message TrackableObjectGraph {
  message TrackableObject {
    message SerializedTensor { string name = 1; string full_name = 2; string checkpoint_key = 3; }
    repeated ObjectReference children = 1; repeated SerializedTensor attributes = 2;
  }
  repeated TrackableObject nodes = 1;
}
message BytesList { repeated bytes value = 1; }
message FloatList { repeated float value = 1; }
message Int64List { repeated int64 value = 1; }
message Feature { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
message Features { map<string, Feature> feature = 1; }
message Example { Features features = 1; }
message VariableDef { string variable_name = 1; string initializer_name = 2; string snapshot_name = 3; bool is_resource = 5; SaveSliceInfoDef save_slice_info_def = 4; }
message SaveSliceInfoDef { string full_name = 1; repeated int64 full_shape = 2; repeated int64 var_offset = 3; repeated int64 var_shape = 4; }
message BundleHeaderProto { int32 num_shards = 1; int32 endianness = 2; VersionDef version = 3; }
message TensorSliceProto { message Extent { int64 start = 1; oneof has_length { int64 length = 2; } } repeated Extent extent = 1; }
message BundleEntryProto { int32 dtype = 1; TensorShapeProto shape = 2; int32 shard_id = 3; int64 offset = 4; int64 size = 5; fixed32 crc32c = 6; repeated TensorSliceProto slices = 7; }
`

/** TensorFlow's DataType numbers; a reference type is the number plus 100. */
export const TF_DTYPES = [
  'invalid',
  'float32',
  'float64',
  'int32',
  'uint8',
  'int16',
  'int8',
  'string',
  'complex64',
  'int64',
  'bool',
  'qint8',
  'quint8',
  'qint32',
  'bfloat16',
  'qint16',
  'quint16',
  'uint16',
  'complex128',
  'float16',
  'resource',
  'variant',
  'uint32',
  'uint64',
] as const
export type TfDType = (typeof TF_DTYPES)[number]

/** The same list by the names that text files and JSON use. */
export const TF_DTYPE_ENUM: Readonly<Record<string, number>> = {
  DT_INVALID: 0,
  DT_FLOAT: 1,
  DT_DOUBLE: 2,
  DT_INT32: 3,
  DT_UINT8: 4,
  DT_INT16: 5,
  DT_INT8: 6,
  DT_STRING: 7,
  DT_COMPLEX64: 8,
  DT_INT64: 9,
  DT_BOOL: 10,
  DT_QINT8: 11,
  DT_QUINT8: 12,
  DT_QINT32: 13,
  DT_BFLOAT16: 14,
  DT_QINT16: 15,
  DT_QUINT16: 16,
  DT_UINT16: 17,
  DT_COMPLEX128: 18,
  DT_HALF: 19,
  DT_RESOURCE: 20,
  DT_VARIANT: 21,
  DT_UINT32: 22,
  DT_UINT64: 23,
  DT_FLOAT8_E5M2: 24,
  DT_FLOAT8_E4M3FN: 25,
  DT_FLOAT8_E4M3FNUZ: 26,
  DT_FLOAT8_E4M3B11FNUZ: 27,
  DT_FLOAT8_E5M2FNUZ: 28,
  DT_INT4: 29,
  DT_UINT4: 30,
  DT_INT2: 31,
  DT_UINT2: 32,
  DT_FLOAT4_E2M1FN: 33,
}

export function tfDType(n: number): TfDType {
  return TF_DTYPES[n > 100 ? n - 100 : n] ?? 'invalid'
}
