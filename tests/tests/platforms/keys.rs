//! Keys of accounts are read where the platforms' own tools keep them, and go nowhere else

use std::fs;

use xfer_tests::lambda_api::LambdaApi;
use xfer_tests::runpod_api::RunPodApi;
use xfer_tests::tree;
use xfer_tests::xfer::Xfer;

use super::{KEY, result};

/// A platform, the variables that it is asked by, and where its key lies otherwise
const PLATFORMS: [(&str, &str, &str, &str); 2] = [
    ("runpod:", "RUNPOD_GRAPHQL_URL", "RUNPOD_API_KEY", ".runpod/config.toml"),
    ("lambda:", "LAMBDA_API_URL", "LAMBDA_API_KEY", ".lambda_cloud/lambda_keys"),
];

#[test]
fn a_key_is_found_in_the_file_of_the_platforms_own_tool() {
    let (runpod, lambda) = (RunPodApi::of(KEY), LambdaApi::of(KEY));
    let texts = [
        format!("apiurl = \"https://api.runpod.io/graphql\"\napikey = \"{KEY}\"\n"),
        format!("api_key = {KEY}\n"),
    ];
    let bases = [runpod.graphql(), lambda.v1()];
    for (((platform, location, variable, file), text), base) in
        PLATFORMS.into_iter().zip(texts).zip(bases)
    {
        let xfer = Xfer::new().env(location, &base);
        let ls = |xfer: &Xfer, code| result(xfer, &["ls", platform], code)["reason"].clone();
        assert_eq!(ls(&xfer, 3), "platform-key-missing");
        let path = xfer.home().join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("create");
        tree::write(&path, text.as_bytes());
        for (mode, code, reason) in
            [(0o644, 3, "platform-key-unusable"), (0o620, 3, "platform-key-unusable")]
        {
            tree::set_mode(&path, mode);
            assert_eq!(ls(&xfer, code), reason, "{mode:o}");
        }
        tree::set_mode(&path, 0o600);
        assert_eq!(ls(&xfer, 0), "done");
        let xfer = xfer.env(variable, "another");
        assert_eq!(ls(&xfer, 11), "platform-key-refused", "the environment comes first");
        let xfer = xfer.env(variable, "two words");
        assert_eq!(ls(&xfer, 3), "platform-key-unusable");
        let xfer = xfer.env(variable, " ");
        tree::write(&path, b"no key\n");
        assert_eq!(ls(&xfer, 3), "platform-key-unusable");
    }
}

#[test]
fn a_key_leaves_this_machine_encrypted_or_not_at_all() {
    for (platform, location, variable, _) in PLATFORMS {
        for base in ["http://203.0.113.1", "http://example.com/", "ftp://127.0.0.1", "x", "//x"] {
            let xfer = Xfer::new().env(location, base).env(variable, KEY);
            let told = result(&xfer, &["ls", platform], 3);
            assert_eq!(told["reason"], "platform-key-unusable", "{base}");
        }
        let nobody = Xfer::new().env(location, "http://127.0.0.1:1").env(variable, KEY);
        assert_eq!(result(&nobody, &["ls", platform], 13)["reason"], "platform-unreached");
    }
}
