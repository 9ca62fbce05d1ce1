//! What outlives the process: records, and counters that could not be written, as bytes of a file.
//!
//! Owns: the form of that file: records, each with its checksum. What is not understood is never
//! guessed at. Never: the file itself, which is `state_file`'s.
//!
//! The form before this one, without checksums, is still read.
//!
//! Limits: texts of [`TEXT_BYTES_MAX`] bytes, batches of [`BATCH_ROWS_MAX`] rows.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use crate::ids::InfoHash;
use crate::listing::{Listing, Record};
use crate::registry::database::{BATCH_ROWS_MAX, Batch, Counted, Fingerprint, NodeId};
use crate::state_directory::{RecordReader, RecordWriter};

/// The first bytes of the file; another form of it has others, which no flipped bit makes of these.
const MAGIC: &[u8; 21] = b"announced: state 3\r\n\0";
/// Those of the form without checksums.
const MAGIC_WITHOUT_CHECKSUMS: &[u8; 21] = b"announced, state 2\r\n\0";
const TEXT_BYTES_MAX: usize = 4_096;

/// Tags of what follows.
const LISTED: u8 = b'k';
const BANNED: u8 = b'b';
const BATCH: u8 = b'w';
const END: u8 = b'.';

/// What a file holds.
#[derive(Default)]
pub(super) struct Saved {
    /// Records; of two for one torrent the later one counts.
    pub(super) records: Vec<(InfoHash, Record)>,
    /// Batches that are not known to be applied, to be written in this order.
    pub(super) batches: Vec<Batch>,
}

impl Saved {
    /// Records hold the database's count, which lacks what was not known to be written.
    pub(super) fn count_unwritten(&mut self) {
        let unwritten = downloads_of(self.batches.iter());
        for (hash, record) in &mut self.records {
            record.downloaded =
                record.downloaded.saturating_add(unwritten.get(hash).copied().unwrap_or(0));
        }
    }
}

/// The downloads of each torrent in batches that have any.
pub(super) fn downloads_of<'b>(batches: impl Iterator<Item = &'b Batch>) -> HashMap<InfoHash, u32> {
    let mut downloads: HashMap<InfoHash, u32> = HashMap::new();
    for row in batches.flat_map(|batch| &batch.rows).filter(|row| row.downloads > 0) {
        let count = downloads.entry(row.info_hash).or_default();
        *count = count.saturating_add(row.downloads);
    }
    downloads
}

/// Writes a file of `database`. `records` is to call what it is given for each record.
pub(super) fn write(
    file: &mut impl Write,
    database: &Fingerprint,
    batches: &[Arc<Batch>],
    records: impl FnOnce(&mut dyn FnMut(&InfoHash, &Record)),
) -> io::Result<()> {
    let file = &mut RecordWriter::new(file);
    file.write_all(MAGIC)?;
    file.write_all(&database.0)?;
    file.end_record()?;
    for batch in batches {
        file.write_all(&[BATCH])?;
        file.write_all(&batch.node.0)?;
        file.write_all(&batch.number.to_le_bytes())?;
        file.write_all(&u32::try_from(batch.rows.len()).map_err(io::Error::other)?.to_le_bytes())?;
        batch.rows.iter().try_for_each(|row| write_row(file, row))?;
        file.end_record()?;
    }
    let mut outcome = Ok(());
    records(&mut |hash, record| {
        if outcome.is_ok() {
            outcome = write_record(file, hash, record);
        }
    });
    outcome?;
    file.write_all(&[END])?;
    file.end_record()
}

fn write_row(file: &mut impl Write, row: &Counted) -> io::Result<()> {
    file.write_all(&row.info_hash.0)?;
    [row.downloads, row.complete, row.incomplete]
        .iter()
        .try_for_each(|count| file.write_all(&count.to_le_bytes()))?;
    file.write_all(&[u8::from(row.active)])
}

fn write_record(
    file: &mut RecordWriter<impl Write>,
    hash: &InfoHash,
    record: &Record,
) -> io::Result<()> {
    let tag = match record.listing {
        Listing::Listed => LISTED,
        Listing::Banned => BANNED,
        Listing::NoList | Listing::Unasked | Listing::Unlisted => return Ok(()),
    };
    let text = record.text.as_ref().map_or(&[][..], |text| text.as_bytes());
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    file.write_all(&[tag])?;
    file.write_all(&hash.0)?;
    file.write_all(&record.downloaded.to_le_bytes())?;
    file.write_all(&u16::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes())?;
    file.write_all(text)?;
    file.end_record()
}

/// Reads a file; which database it is of, and what it holds.
///
/// # Errors
/// When it is cut, damaged, or of another version.
pub(super) fn read(file: &mut impl Read) -> io::Result<(Fingerprint, Saved)> {
    let mut file = RecordReader::new(file);
    match bytes(&mut file)? {
        magic if magic == *MAGIC => {}
        magic if magic == *MAGIC_WITHOUT_CHECKSUMS => file = file.without_checksums(),
        _ => {
            let problem = "is not a state file of this version";
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
    }
    let (database, mut saved) = (Fingerprint(bytes(&mut file)?), Saved::default());
    file.end_record()?;
    loop {
        let [tag] = bytes(&mut file)?;
        match tag {
            LISTED => saved.records.push(read_record(&mut file, Listing::Listed)?),
            BANNED => saved.records.push(read_record(&mut file, Listing::Banned)?),
            BATCH => saved.batches.push(read_batch(&mut file)?),
            END => {}
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "is damaged")),
        }
        file.end_record()?;
        if tag == END {
            return Ok((database, saved));
        }
    }
}

fn read_record(file: &mut impl Read, listing: Listing) -> io::Result<(InfoHash, Record)> {
    let (hash, downloaded) = (InfoHash(bytes(file)?), u32::from_le_bytes(bytes(file)?));
    let length = usize::from(u16::from_le_bytes(bytes(file)?));
    if length > TEXT_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "is damaged"));
    }
    let mut text = vec![0; length];
    file.read_exact(&mut text)?;
    let text = (length > 0).then(|| String::from_utf8_lossy(&text).into());
    Ok((hash, Record { listing, text, downloaded }))
}

fn read_batch(file: &mut impl Read) -> io::Result<Batch> {
    let (node, number) = (NodeId(bytes(file)?), u64::from_le_bytes(bytes(file)?));
    let length = u32::from_le_bytes(bytes(file)?) as usize;
    if length > BATCH_ROWS_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "is damaged"));
    }
    let rows = (0..length).map(|_| read_row(file)).collect::<io::Result<Vec<Counted>>>()?;
    Ok(Batch { node, number, rows })
}

fn read_row(file: &mut impl Read) -> io::Result<Counted> {
    let info_hash = InfoHash(bytes(file)?);
    let mut count = || bytes(file).map(u32::from_le_bytes);
    let (downloads, complete, incomplete) = (count()?, count()?, count()?);
    let [active] = bytes(file)?;
    Ok(Counted { info_hash, downloads, complete, incomplete, active: active != 0 })
}

fn bytes<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Fingerprint {
        Fingerprint::of("sqlite", b"/var/lib/announced/announced.db")
    }

    fn batch(number: u64) -> Batch {
        let row = |n: u8| Counted {
            info_hash: InfoHash([n; 20]),
            downloads: u32::from(n),
            complete: 2,
            incomplete: u32::MAX,
            active: n.is_multiple_of(2),
        };
        Batch { node: NodeId([7; 16]), number, rows: (0..5).map(row).collect() }
    }

    fn records() -> Vec<(InfoHash, Record)> {
        let known = Record {
            listing: Listing::Listed,
            text: Some("Ein Näme".into()),
            downloaded: 4_000_000_000,
        };
        let banned = Record { text: Some("notice".into()), ..Record::plain(Listing::Banned) };
        vec![
            (InfoHash([1; 20]), known),
            (InfoHash([2; 20]), banned),
            (InfoHash([3; 20]), Record::plain(Listing::Listed)),
        ]
    }

    fn written() -> Vec<u8> {
        let mut file = Vec::new();
        let batches = [1, 2].map(|number| Arc::new(batch(number)));
        write(&mut file, &database(), &batches, |f| {
            records().iter().for_each(|(hash, record)| f(hash, record));
        })
        .unwrap();
        file
    }

    #[test]
    fn what_is_saved_is_read_back() {
        let (of, saved) = read(&mut written().as_slice()).unwrap();
        assert_eq!(of, database(), "the database it is of");
        assert_eq!(saved.records, records(), "the records");
        assert_eq!(saved.batches, vec![batch(1), batch(2)], "the batches");
    }

    #[test]
    fn what_was_not_known_to_be_written_is_counted() {
        let mut saved = Saved { records: records(), batches: vec![batch(1), batch(2)] };
        saved.count_unwritten();
        let counts: Vec<u32> = saved.records.iter().map(|(_, record)| record.downloaded).collect();
        assert_eq!(counts, [4_000_000_002, 4, 6]);
    }

    /// What the version before this one has written of the same.
    #[test]
    fn a_file_without_checksums_is_still_read() {
        let file = include_bytes!("../../tests/data/announced.state-2");
        let (of, saved) = read(&mut file.as_slice()).unwrap();
        assert_eq!(of, database());
        assert_eq!(saved.records, records());
        assert_eq!(saved.batches, [batch(1), batch(2)]);
    }

    #[test]
    fn a_file_that_is_cut_or_has_a_flipped_bit_is_none() {
        let file = written();
        for length in 0..file.len() {
            assert!(read(&mut &file[..length]).is_err(), "it is cut after {length} bytes");
        }
        for bit in 0..8 * file.len() {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&mut damaged.as_slice()).is_err(), "bit {bit} is flipped");
        }
    }

    #[test]
    fn noise_without_checksums_costs_no_more_than_its_length() {
        let file = include_bytes!("../../tests/data/announced.state-2");
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let mut damaged = file.to_vec();
            damaged[rng.usize(..file.len())] = rng.u8(..);
            // Whatever comes of it, it is no panic and no allocation beyond the bounds.
            let _ = read(&mut damaged.as_slice())
                .map(|(_, saved)| assert!(saved.records.len() < file.len()));
        }
    }
}
