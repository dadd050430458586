//! x

fn main() {
    let start = std::time::Instant::now();
    match sandbox::assets::Assets::ensure(&sandbox::assets::Progress::new()) {
        Ok(a) => println!("{a:#?} {:?}", start.elapsed()),
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(1)
        }
    }
}
