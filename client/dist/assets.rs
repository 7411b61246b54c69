// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "4d82d79ed797d735",
        etag: "\"4d82d79ed797d735\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "0a993f6439d29b6e",
        etag: "\"0a993f6439d29b6e\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "a97ac4a81b91b0e1",
        etag: "\"a97ac4a81b91b0e1\"",
        body: include_bytes!("auto.js"),
    },
]
