// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "e52f87b414b1f9e1",
        etag: "\"e52f87b414b1f9e1\"",
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
        hash: "875c681c3ba5ca3f",
        etag: "\"875c681c3ba5ca3f\"",
        body: include_bytes!("auto.js"),
    },
]
