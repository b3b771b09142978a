//! The engines behind one door. Every commit is durable when it returns.

use std::{fs, path::Path};

use fjall::{KeyspaceCreateOptions, PersistMode};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use crate::load::{Entry, PARTS, Part};

pub trait Engine {
    fn commit(&mut self, entries: &[Entry]);
    /// Reads everything; values and their bytes.
    fn read(&self) -> (u64, u64);
    fn compact(&mut self);
}

pub const ENGINES: [&str; 4] = ["redb", "redb-verified", "redb-quick-repair", "fjall"];

pub fn open(engine: &str, directory: &Path) -> Box<dyn Engine> {
    fs::create_dir_all(directory).unwrap();
    match engine {
        "redb" => Box::new(Redb::open(directory, false, false)),
        "redb-verified" => Box::new(Redb::open(directory, true, false)),
        "redb-quick-repair" => Box::new(Redb::open(directory, false, true)),
        "fjall" => Box::new(Fjall::open(directory)),
        other => panic!("no engine {other}"),
    }
}

struct Redb {
    database: redb::Database,
    quick_repair: bool,
}

fn table(part: Part) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match part {
        Part::Heads => "heads",
        Part::Rings => "rings",
        Part::Series => "series",
    })
}

impl Redb {
    /// Two phases, so that a damaged primary is an error and never a silent return to an older state.
    fn open(directory: &Path, verify: bool, quick_repair: bool) -> Self {
        let mut builder = redb::Database::builder();
        builder.set_cache_size(16 << 20).set_check_integrity_on_open(verify);
        Self { database: builder.create(directory.join("state.redb")).unwrap(), quick_repair }
    }
}

impl Engine for Redb {
    fn commit(&mut self, entries: &[Entry]) {
        let mut transaction = self.database.begin_write().unwrap();
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(self.quick_repair);
        for part in PARTS {
            let mut table = transaction.open_table(table(part)).unwrap();
            for entry in entries.iter().filter(|entry| entry.part == part) {
                table.insert(&*entry.key, &*entry.value).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    fn read(&self) -> (u64, u64) {
        let transaction = self.database.begin_read().unwrap();
        let mut read = (0, 0);
        for part in PARTS {
            let table = transaction.open_table(table(part)).unwrap();
            for entry in table.iter().unwrap() {
                let (_, value) = entry.unwrap();
                read = (read.0 + 1, read.1 + value.value().len() as u64);
            }
            assert!(!table.is_empty().unwrap());
        }
        read
    }

    fn compact(&mut self) {
        self.database.compact().unwrap();
    }
}

struct Fjall {
    database: fjall::Database,
    parts: Vec<fjall::Keyspace>,
}

impl Fjall {
    fn open(directory: &Path) -> Self {
        let database = fjall::Database::builder(directory).open().unwrap();
        let keyspace =
            |part| database.keyspace(&format!("{part:?}"), KeyspaceCreateOptions::default).unwrap();
        let parts = PARTS.map(keyspace).into();
        Self { database, parts }
    }
}

impl Engine for Fjall {
    fn commit(&mut self, entries: &[Entry]) {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for entry in entries {
            batch.insert(&self.parts[entry.part as usize], &*entry.key, &*entry.value);
        }
        batch.commit().unwrap();
    }

    fn read(&self) -> (u64, u64) {
        let mut read = (0, 0);
        for entry in self.parts.iter().flat_map(|part| part.iter()) {
            let value = entry.value().unwrap();
            read = (read.0 + 1, read.1 + value.len() as u64);
        }
        read
    }

    fn compact(&mut self) {
        for part in &self.parts {
            part.rotate_memtable_and_wait().unwrap();
            part.major_compact().unwrap();
        }
    }
}
