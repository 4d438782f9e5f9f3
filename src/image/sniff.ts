/** Who reads a format: our own decoders, sharp, nobody though it is an image, or nobody because it is none. */
export type Reader = 'png' | 'bmp' | 'sharp' | 'refused' | 'none'

interface Row {
  readonly name: string
  readonly reader: Reader
  readonly match: (b: Uint8Array) => boolean
}

/** `?` stands for any byte. */
const magic =
  (...patterns: string[]) =>
  (b: Uint8Array): boolean =>
    patterns.some((m) => {
      if (b.length < m.length) return false
      for (let i = 0; i < m.length; i++) if (m[i] !== '?' && m.charCodeAt(i) !== b[i]) return false
      return true
    })

const latin1 = (b: Uint8Array, from: number, to: number): string =>
  Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString('latin1', from, to)

const BMP_HEADERS = new Set([12, 40, 52, 56, 64, 108, 124])
const isBmp = (b: Uint8Array): boolean =>
  b.length >= 18 && magic('BM')(b) && b[15] === 0 && b[16] === 0 && b[17] === 0 && BMP_HEADERS.has(b[14]!)

/** AVIF may call itself mif1 and say avif only among its compatible brands. */
const isAvif = (b: Uint8Array): boolean => magic('????ftyp')(b) && /avi[fs]/.test(latin1(b, 8, Math.min(b[3]!, 64)))

const isSvg = (b: Uint8Array): boolean => {
  const head = latin1(b, 0, 1000)
    .replace(/^\xef\xbb\xbf/, '')
    .trimStart()
  return head.startsWith('<svg') || (/^(<\?xml|<!--|<!DOCTYPE svg)/.test(head) && head.includes('<svg'))
}

const isText = (b: Uint8Array): boolean => /^[\t\n\f\r\x20-\x7e\x80-\xff]+$/.test(latin1(b, 0, 512))

/** First match wins: the formats seen daily come first, so a PNG costs one comparison. */
const FORMATS: readonly Row[] = [
  { name: 'PNG', reader: 'png', match: magic('\x89PNG\r\n\x1a\n') },
  { name: 'JPEG', reader: 'sharp', match: magic('\xff\xd8\xff') },
  { name: 'GIF', reader: 'sharp', match: magic('GIF87a', 'GIF89a') },
  { name: 'WebP', reader: 'sharp', match: magic('RIFF????WEBP') },
  { name: 'BMP', reader: 'bmp', match: isBmp },
  { name: 'TIFF', reader: 'sharp', match: magic('II*\0', 'MM\0*', 'II+\0', 'MM\0+') },
  { name: 'AVIF', reader: 'sharp', match: isAvif },
  { name: 'SVG', reader: 'sharp', match: isSvg },
  { name: 'HEIC', reader: 'refused', match: magic('????ftyphe', '????ftypmif1', '????ftypmsf1') },
  { name: 'PSD (Photoshop)', reader: 'refused', match: magic('8BPS') },
  { name: 'ICO', reader: 'refused', match: magic('\0\0\x01\0') },
  { name: 'CUR', reader: 'refused', match: magic('\0\0\x02\0') },
  { name: 'JPEG 2000', reader: 'refused', match: magic('\0\0\0\x0cjP  \r\n\x87\n', '\xffO\xffQ') },
  { name: 'JPEG XL', reader: 'refused', match: magic('\xff\x0a', '\0\0\0\x0cJXL ') },
  { name: 'JPEG XR', reader: 'refused', match: magic('II\xbc\x01') },
  { name: 'OpenEXR', reader: 'refused', match: magic('v/1\x01') },
  { name: 'Radiance HDR', reader: 'refused', match: magic('#?RADIANCE', '#?RGBE') },
  { name: 'Netpbm', reader: 'refused', match: (b) => /^P[1-7]\s/.test(latin1(b, 0, 3)) },
  { name: 'DDS', reader: 'refused', match: magic('DDS |\0\0\0') },
  { name: 'XCF (GIMP)', reader: 'refused', match: magic('gimp xcf') },
  { name: 'FITS', reader: 'refused', match: magic('SIMPLE  =') },
  { name: 'DICOM', reader: 'refused', match: (b) => latin1(b, 128, 132) === 'DICM' },
  { name: 'EPS', reader: 'refused', match: magic('%!PS', '\xc5\xd0\xd3\xc6') },
  { name: 'QOI', reader: 'refused', match: magic('qoif') },
  { name: 'ICNS', reader: 'refused', match: magic('icns') },
  { name: 'SGI', reader: 'refused', match: magic('\x01\xda\x00', '\x01\xda\x01') },
  { name: 'MNG', reader: 'refused', match: magic('\x8aMNG', '\x8bJNG') },
  { name: 'nothing (0 bytes)', reader: 'none', match: (b) => b.length === 0 },
  { name: 'a PDF document', reader: 'none', match: magic('%PDF') },
  { name: 'a ZIP archive', reader: 'none', match: magic('PK\x03\x04') },
  { name: 'gzip data', reader: 'none', match: magic('\x1f\x8b') },
  { name: 'a video or audio file', reader: 'none', match: magic('????ftyp', 'RIFF????AVI ', 'RIFF????WAVE', 'ID3') },
  { name: 'a NumPy file', reader: 'none', match: magic('\x93NUMPY') },
  { name: 'an HTML page', reader: 'none', match: (b) => /^\s*<(!doctype )?html/i.test(latin1(b, 0, 200)) },
  {
    name: 'an image still encoded as base64 text',
    reader: 'none',
    match: magic('data:image/', 'iVBORw0KGgo', '/9j/', 'R0lGOD', 'UklGR'),
  },
  { name: 'text', reader: 'none', match: isText },
  { name: 'bytes of no known image format', reader: 'none', match: () => true },
]

/** What the first bytes say a file is; file names and declared content types are not asked. */
export function sniff(bytes: Uint8Array): { name: string; reader: Reader } {
  return FORMATS.find((row) => row.match(bytes))!
}
