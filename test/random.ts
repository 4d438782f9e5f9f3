import fc from 'fast-check'

/**
 * Properties are looked at with the same inputs each time, so that a run that fails is one of the change at hand.
 * `FUZZ_SEED=7 npm test` looks elsewhere, here and in test/fuzz; `FUZZ_SEED=$RANDOM` in a loop is a campaign.
 */
fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED ?? 0) })

export { fc }
