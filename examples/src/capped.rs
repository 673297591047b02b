//! Files read whole, and refused where they are larger than anything they could rightly hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A configuration, or a list that people write.
pub const CONFIGURATION: u64 = 16 << 20;

/// The bytes of a file of at most `most` bytes; a pipe or a device is read no further than that.
///
/// # Errors
/// Those of opening and reading; [`io::ErrorKind::FileTooLarge`] when there is more.
///
/// ```
/// let error = examples::capped::bytes("/dev/zero".as_ref(), 1000).unwrap_err();
/// assert_eq!(error.to_string(), "it holds more than 1000 bytes");
/// ```
pub fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match u64::try_from(read) {
        Ok(read) if read <= most => Ok(bytes),
        _ => {
            let why = format!("it holds more than {most} bytes");
            Err(io::Error::new(io::ErrorKind::FileTooLarge, why))
        }
    }
}

/// The same for text.
///
/// # Errors
/// Those of [`bytes`]; [`io::ErrorKind::InvalidData`] where it is not UTF-8.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(bytes(path, most)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
