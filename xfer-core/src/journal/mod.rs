//! Records of verified transfers: what makes an unchanged tree cheap.
