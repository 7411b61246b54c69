// Written by client/build.mjs.
[
    Asset {
        path: "/client.js",
        hash: "3dd69f2db37500d7",
        etag: "\"3dd69f2db37500d7\"",
        body: include_bytes!("client.js"),
    },
    Asset {
        path: "/worker.js",
        hash: "a8b792cefd4715fd",
        etag: "\"a8b792cefd4715fd\"",
        body: include_bytes!("worker.js"),
    },
    Asset {
        path: "/auto.js",
        hash: "aafd1244a83b8e96",
        etag: "\"aafd1244a83b8e96\"",
        body: include_bytes!("auto.js"),
    },
]
