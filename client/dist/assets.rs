// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "44267e1da3091676",
        etag: "\"44267e1da3091676\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "ca2c01bcda219d31",
        etag: "\"ca2c01bcda219d31\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "89c017078b077818",
        etag: "\"89c017078b077818\"",
        body: include_bytes!("auto.js"),
    },
]
