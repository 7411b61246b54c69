// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "2651f4794e114e16",
        etag: "\"2651f4794e114e16\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "5fdcd3b6df80163d",
        etag: "\"5fdcd3b6df80163d\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "4c8a6dce2a11b58f",
        etag: "\"4c8a6dce2a11b58f\"",
        body: include_bytes!("auto.js"),
    },
]
