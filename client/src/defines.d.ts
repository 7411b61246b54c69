/** Said by `build.mjs`: the version of this package, which is the crate's. */
declare const __VERSION__: string;

/** Said by `build.mjs`: the worker's file and its hash, `worker.js?v=…`, beside `client.js`. */
declare const __WORKER__: string;
