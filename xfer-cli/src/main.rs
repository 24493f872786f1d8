//! cli
fn main() {
    println!("hi");
}
