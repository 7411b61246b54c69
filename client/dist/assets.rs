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
        hash: "7a1b3951c0f39eea",
        etag: "\"7a1b3951c0f39eea\"",
        body: include_bytes!("auto.js"),
    },
]
