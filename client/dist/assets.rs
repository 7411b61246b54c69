// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "2bbe0476921fac3c",
        etag: "\"2bbe0476921fac3c\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "cac47a0c34042c9f",
        etag: "\"cac47a0c34042c9f\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "c42b25a981fee3ed",
        etag: "\"c42b25a981fee3ed\"",
        body: include_bytes!("auto.js"),
    },
]
