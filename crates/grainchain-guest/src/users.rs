//! Whom commands run as, where the guest may choose.

use std::io::Read;

use grainchain_core::tree::{Root, TreeErrorKind};
use grainchain_core::{Effect, Error, ErrorKind, Result};

/// The most of `/etc/passwd` and of `/etc/group` that is looked at: whoever runs in the sandbox may have written them.
const LARGEST_TABLE: u64 = 1 << 20;
/// The most groups that one user is in.
const MOST_GROUPS: usize = 256;

/// A user, and all its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The numbers of all groups that it is in besides.
    pub groups: Vec<u32>,
}

impl Account {
    /// A user without other groups.
    pub fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid, groups: Vec::new() }
    }

    /// The user that `wanted` means below `root`: `uid`, `uid:gid`, `name` or `name:group`, by that system's own tables.
    ///
    /// A number that no table has stands for itself, and for the group of the same number.
    ///
    /// # Errors
    ///
    /// `BadRequest` naming the user or group that is in no table.
    pub fn find(root: &Root, wanted: &str) -> Result<Self> {
        let (user, group) =
            wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        let number = user.parse::<u32>().ok();
        let given = group.and_then(|group| group.parse::<u32>().ok());
        if let (Some(uid), Some(gid)) = (number, given) {
            return Self::new(uid, gid).checked(wanted);
        }
        let passwd = table(root, "etc/passwd")?;
        let entry = passwd.lines().filter_map(Entry::parse).find(|entry| match number {
            Some(uid) => entry.uid == uid,
            None => entry.name == user,
        });
        let unknown = |what: &str, name: &str, file: &str| {
            Error::bad_request(format!("there is no {what} `{}` in the sandbox", name.escape_debug()))
                .hint(format!("use one of /etc/{file}, or numbers as in 1000:1000"))
                .option("user")
                .effect(Effect::None)
        };
        let (uid, own) = match (&entry, number) {
            (Some(entry), _) => (entry.uid, entry.gid),
            (None, Some(uid)) => (uid, uid),
            (None, None) => return Err(unknown("user", user, "passwd")),
        };
        let Some(group) = group else {
            let name = entry.map(|entry| entry.name);
            let groups = name.map(|name| groups_of(root, name)).transpose()?.unwrap_or_default();
            return Self { uid, gid: own, groups }.checked(wanted);
        };
        let gid = match given {
            Some(gid) => Some(gid),
            None => table(root, "etc/group")?.lines().find_map(|line| group_number(line, group)),
        };
        Self::new(uid, gid.ok_or_else(|| unknown("group", group, "group"))?).checked(wanted)
    }

    /// The largest number means "none" to the kernel, and would change nothing.
    fn checked(self, wanted: &str) -> Result<Self> {
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(Error::bad_request(format!("`{}` is no user", wanted.escape_debug()))
                .hint("use smaller numbers")
                .option("user"));
        }
        Ok(self)
    }
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some(Self { name, uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

fn group_number(line: &str, wanted: &str) -> Option<u32> {
    let mut fields = line.split(':');
    (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
}

/// The groups that name `user` as a member.
fn groups_of(root: &Root, user: &str) -> Result<Vec<u32>> {
    let text = table(root, "etc/group")?;
    let mut groups: Vec<u32> = text.lines().filter_map(|line| membership(line, user)).collect();
    groups.truncate(MOST_GROUPS);
    Ok(groups)
}

fn membership(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let gid = fields.nth(2)?.parse().ok().filter(|gid| *gid != u32::MAX)?;
    fields.next()?.split(',').any(|member| member == user).then_some(gid)
}

/// The text of a table, empty where there is none.
fn table(root: &Root, path: &str) -> Result<String> {
    let unreadable = |error| Error::io(format_args!("read /{path}"), error);
    let file = match root.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == TreeErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(Error::from(error)),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_TABLE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_TABLE {
        return Err(Error::new(ErrorKind::Exhausted, format!("/{path} is larger than a megabyte"))
            .hint("name the user by numbers, as in 1000:1000"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nbroken\nnode:x:1000:1001::/home/node:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,node\nnode:x:1001:\naudio:x:29:nodes\n";

    fn find(wanted: &str) -> Result<Account> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(folder.path().join("etc/group"), GROUP).unwrap();
        Account::find(&Root::open(folder.path()).unwrap(), wanted)
    }

    #[test]
    fn a_name_brings_its_group_and_the_groups_it_is_in() {
        assert_eq!(find("node").unwrap(), Account { uid: 1000, gid: 1001, groups: vec![10] });
        assert_eq!(find("1000").unwrap(), find("node").unwrap());
    }

    #[test]
    fn a_group_that_is_asked_for_is_the_only_one() {
        assert_eq!(find("node:audio").unwrap(), Account::new(1000, 29));
        assert_eq!(find("node:7").unwrap(), Account::new(1000, 7));
        assert_eq!(find("7:wheel").unwrap(), Account::new(7, 10));
    }

    #[test]
    fn numbers_stand_for_themselves() {
        assert_eq!(find("12345").unwrap(), Account::new(12345, 12345));
        assert_eq!(find("1:2").unwrap(), Account::new(1, 2));
    }

    #[test]
    fn whoever_is_in_no_table_is_refused_by_name() {
        for (wanted, named) in [("nobody", "`nobody`"), ("node:none", "`none`"), ("", "``"), ("-1", "`-1`")] {
            let error = find(wanted).unwrap_err();
            assert_eq!((error.kind(), error.failed_option()), (ErrorKind::BadRequest, Some("user")));
            assert!(error.to_string().contains(named), "{error}");
        }
        assert_eq!(find("4294967295").unwrap_err().failed_option(), Some("user"));
    }

    #[test]
    fn a_table_that_is_a_pipe_or_endless_does_not_hold_anybody_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let place = folder.path().join("etc/passwd");
        rustix::fs::mkfifoat(rustix::fs::CWD, &place, rustix::fs::Mode::RUSR).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(Account::find(&root, "node").is_err());
        std::fs::remove_file(&place).unwrap();
        std::fs::File::create(&place).unwrap().set_len(LARGEST_TABLE + 1).unwrap();
        assert_eq!(Account::find(&root, "node").unwrap_err().kind(), ErrorKind::Exhausted);
    }
}
