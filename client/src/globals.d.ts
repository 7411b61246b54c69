/** Of package.json; the build puts it in. */
declare const __VERSION__: string;
/** The file name of the SharedWorker, with the hash of what is in it; the build puts it in. */
declare const __WORKER__: string;
