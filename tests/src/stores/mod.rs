//! Object stores for one test, each on a port of 127.0.0.1 with a directory that goes with it
//!
//! Each is a judge that others wrote, and each is wrong somewhere: what a test proves, it proves
//! with the store that checks it.

mod azurite;
mod discard;
pub mod faults;
mod garage;
mod http;
pub mod judges;
mod moto;
mod paced;
mod programs;
mod s3s;

pub use self::azurite::Azurite;
pub use self::discard::{Asked, Discard, Held, invented};
pub use self::garage::Garage;
pub use self::http::{Message, ask};
pub use self::moto::Moto;
pub use self::programs::corpora_python;
pub use self::s3s::{S3s, Throttle};

/// What speaks to a store, and where
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The address without a path, such as `http://127.0.0.1:9000`
    pub endpoint: String,
    /// The name of the key
    pub key: String,
    /// What signs
    pub secret: String,
    /// What is signed for
    pub region: String,
    /// The bucket that is there from the beginning
    pub bucket: String,
}

impl Access {
    /// Of a store on that port whose bucket is `bucket`, with the key that tests have
    pub fn on(port: u16) -> Self {
        Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            key: String::from("AKIATEST"),
            secret: String::from("secretsecret"),
            region: String::from("us-east-1"),
            bucket: String::from("bucket"),
        }
    }

    /// The same by way of another port of this machine
    #[must_use]
    pub fn by_way_of(&self, port: u16) -> Self {
        Self { endpoint: format!("http://127.0.0.1:{port}"), ..self.clone() }
    }

    /// The port on 127.0.0.1
    pub fn port(&self) -> u16 {
        let port = self.endpoint.rsplit(':').next().map(str::parse);
        port.and_then(Result::ok).expect("a port")
    }

    /// `s3://BUCKET/PATH`
    pub fn location(&self, path: &str) -> String {
        format!("s3://{}/{path}", self.bucket)
    }

    /// What AWS's own programs read, and nothing that leads away from this machine
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", self.key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
            ("AWS_REGION", &self.region),
            ("AWS_DEFAULT_REGION", &self.region),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}
