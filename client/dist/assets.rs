// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "21e16ecb16d55a0b",
        etag: "\"21e16ecb16d55a0b\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "183638b5d4cf899e",
        etag: "\"183638b5d4cf899e\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "76fab13ede8297cd",
        etag: "\"76fab13ede8297cd\"",
        body: include_bytes!("auto.js"),
    },
]
