//! The names of files in the folder, and what they say.

use std::ffi::{OsStr, OsString};

use shards::disk::Role;

/// Every number has as many digits as the largest, so that names sort by number.
const DIGITS: usize = 10;
const SPARE: &str = "spare";
const BAD: &str = "bad";

/// What a file's name says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A journal or store file with this number.
    File(u32, Role),
    /// A file that was being made, or waited to be used again.
    Spare,
    /// A file that was set aside.
    Bad,
    /// Nobody's business: its name starts with a dot.
    Hidden,
    /// None of ours.
    Foreign,
}

/// The name of a file with this number.
pub(super) fn of_file(number: u32, role: Role) -> String {
    let ending = match role {
        Role::Journal => "journal",
        Role::Store => "store",
    };
    format!("{number:0DIGITS$}.{ending}")
}

/// The name of a file that is not in use, or not yet.
pub(super) fn of_spare(number: u32) -> String {
    format!("{number:0DIGITS$}.{SPARE}")
}

/// The names to set a file aside under, best first.
pub(super) fn of_bad(name: &OsStr) -> impl Iterator<Item = OsString> {
    let with = |ending: String| {
        let mut bad = name.to_owned();
        bad.push(ending);
        bad
    };
    let first = with(format!(".{BAD}"));
    std::iter::once(first).chain((2_u64..).map(move |count| with(format!(".{BAD}.{count}"))))
}

/// What a name says.
pub(super) fn read(name: &OsStr) -> Named {
    let Some(name) = name.to_str() else { return Named::Foreign };
    if name.starts_with('.') {
        return Named::Hidden;
    }
    if is_bad(name) {
        return Named::Bad;
    }
    let Some((number, ending)) = number(name).zip(name.get(DIGITS + 1..)) else {
        return Named::Foreign;
    };
    match ending {
        SPARE => Named::Spare,
        "journal" => Named::File(number, Role::Journal),
        "store" => Named::File(number, Role::Store),
        _ => Named::Foreign,
    }
}

/// The number that a name starts with, whatever else it says: no other file gets it.
pub(super) fn number(name: &str) -> Option<u32> {
    let (digits, rest) = name.split_at_checked(DIGITS)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && rest.starts_with('.') { digits.parse().ok() } else { None }
}

fn is_bad(name: &str) -> bool {
    match name.rsplit_once('.') {
        Some((_, BAD)) => true,
        Some((rest, count)) => {
            !count.is_empty()
                && count.bytes().all(|byte| byte.is_ascii_digit())
                && rest.rsplit_once('.').is_some_and(|(_, ending)| ending == BAD)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use shards::disk::Role;

    use super::{Named, number, of_bad, of_file, of_spare, read};

    #[test]
    fn names_are_read_as_they_are_given() {
        for number in [0, 1, 77, u32::MAX] {
            for role in [Role::Journal, Role::Store] {
                let name = of_file(number, role);
                assert_eq!(read(name.as_ref()), Named::File(number, role), "{name}");
                for bad in of_bad(name.as_ref()).take(12) {
                    assert_eq!(read(&bad), Named::Bad, "{bad:?}");
                    assert_eq!(super::number(bad.to_str().unwrap()), Some(number));
                }
            }
            assert_eq!(read(of_spare(number).as_ref()), Named::Spare);
        }
        assert_eq!(of_file(12, Role::Store), "0000000012.store");
    }

    #[test]
    fn other_names_are_foreign() {
        for name in [
            "notes.txt",
            "12.store",
            "0000000012",
            "0000000012.stores",
            "00000000012.store",
            "+000000012.store",
            "4294967296.store",
            "0000000012.store.2",
            "ééééé.store",
            "",
        ] {
            assert_eq!(read(name.as_ref()), Named::Foreign, "{name}");
        }
        assert_eq!(read(OsStr::new(".nfs0001")), Named::Hidden);
        assert_eq!(number("4294967296.store"), None);
        assert_eq!(number("0000000012.anything"), Some(12));
    }

    #[test]
    fn a_file_is_set_aside_under_ever_other_names() {
        let names: Vec<_> = of_bad(OsStr::new("x")).take(3).collect();
        assert_eq!(names, ["x.bad", "x.bad.2", "x.bad.3"]);
    }
}
