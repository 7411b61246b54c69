// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "53ae64df6bd29f39",
        etag: "\"53ae64df6bd29f39\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "71754ce76d20420e",
        etag: "\"71754ce76d20420e\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "92c59c02d993b053",
        etag: "\"92c59c02d993b053\"",
        body: include_bytes!("auto.js"),
    },
]
