//! The generated types of the wire. Nothing outside this crate sees them.

#![allow(missing_docs, unused_qualifications, clippy::all)]

pub mod pluginv2 {
    tonic::include_proto!("pluginv2");
}

pub mod goplugin {
    tonic::include_proto!("plugin");
}

pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
