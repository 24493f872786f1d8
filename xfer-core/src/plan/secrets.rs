//! Files that open accounts or machines, known by where they lie.

/// Each a run of names anywhere in a path; what lies below one is meant too.
const PLACES: [&[&[u8]]; 14] = [
    &[b".ssh"],
    &[b".aws"],
    &[b".netrc"],
    &[b".vast_api_key"],
    &[b".config", b"vastai"],
    &[b".config", b"rclone"],
    &[b".config", b"gcloud"],
    &[b".cache", b"huggingface", b"token"],
    &[b".cache", b"huggingface", b"stored_tokens"],
    &[b".huggingface", b"token"],
    &[b".runpod"],
    &[b".lambda_cloud"],
    &[b".sky", b"generated", b"ssh-keys"],
    &[b".sky", b"clients"],
];

/// Whether a path leads to such a file, or to a directory of them.
#[must_use]
pub fn is_credential(root: &[u8], below: &[u8]) -> bool {
    let parts =
        |path| <[u8]>::split(path, |byte: &u8| *byte == b'/').filter(|part| !part.is_empty());
    let names: Vec<&[u8]> = parts(root).chain(parts(below)).collect();
    PLACES.iter().any(|place| names.windows(place.len()).any(|run| run == *place))
}

/// Whether a file often holds keys beside other things.
#[must_use]
pub fn may_hold_keys(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(b".env")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_known_by_their_place() {
        for (root, below) in [
            ("/home/u", ".ssh"),
            ("/home/u", ".ssh/id_ed25519"),
            ("/home/u/.ssh", "id_ed25519"),
            ("/home/u", "deep/.aws/credentials"),
            ("/home/u", ".netrc"),
            ("/home/u", ".vast_api_key"),
            ("/home/u/.config", "vastai/vast_api_key"),
            ("/home/u", ".config/rclone/rclone.conf"),
            ("/home/u", ".config/gcloud"),
            ("/home/u/.cache", "huggingface/token"),
            ("", ".huggingface/token"),
            ("/home/u", ".lambda_cloud/lambda_keys"),
            ("/home/u/.sky", "generated/ssh-keys/train.key"),
        ] {
            assert!(is_credential(root.as_bytes(), below.as_bytes()), "{root} {below}");
        }
        for (root, below) in [
            ("/home/u", ".config/nvim/init.lua"),
            ("/home/u", ".cache/huggingface/hub/models--x/token.json"),
            ("/home/u", "ssh/config"),
            ("/home/u", ".sshx"),
            ("/home/u", "x.netrc"),
            ("/home/u", ".sky/generated/ssh/train"),
            ("/data", "vastai/train.py"),
        ] {
            assert!(!is_credential(root.as_bytes(), below.as_bytes()), "{root} {below}");
        }
        assert!(may_hold_keys(b"app/.env") && may_hold_keys(b".env"));
        assert!(!may_hold_keys(b".env/x") && !may_hold_keys(b"x.env"));
    }
}
