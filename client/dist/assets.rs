// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "a99d27dae2a0e238",
        etag: "\"a99d27dae2a0e238\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "40228f40880a5609",
        etag: "\"40228f40880a5609\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "457a02cfd4b61345",
        etag: "\"457a02cfd4b61345\"",
        body: include_bytes!("auto.js"),
    },
]
