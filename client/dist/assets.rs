// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "86cc9e93ba220c72",
        etag: "\"86cc9e93ba220c72\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "96a57439661ce470",
        etag: "\"96a57439661ce470\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "c31b31d731c944b5",
        etag: "\"c31b31d731c944b5\"",
        body: include_bytes!("auto.js"),
    },
]
