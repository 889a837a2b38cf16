//! The contents of a lock's file, which the owner of its folder may change.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
};

use super::record::Record;
use crate::fuzz::is_one_line;

thread_local! {
    static FILE: File = tempfile::tempfile().expect("a file");
}

/// Takes a file, reads the record in it, and stores it again.
pub(crate) fn records(data: &[u8]) {
    FILE.with(|file| {
        let mut writer = file;
        file.set_len(0).and_then(|()| writer.seek(SeekFrom::Start(0))).expect("an empty file");
        writer.write_all(data).expect("a written file");
        let record = Record::read(file);
        record.leader().iter().for_each(|leader| is_one_line(&leader.to_string()));
        record.success(None).iter().for_each(|success| is_one_line(&success.to_string()));
        let _ = (record.failures(None), record.kept());
        record.write(file).expect("a written record");
        let again = Record::read(file);
        assert_eq!((again.token, &again.holder), (record.token, &record.holder));
    });
}
