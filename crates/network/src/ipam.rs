//! Which sandbox has which address: one small file per sandbox, so that it outlives this process.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use orlop_api::cidr::Cidr;
use orlop_runtime::PortMapping;
use serde::{Deserialize, Serialize};

/// What a sandbox holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub addresses: Vec<IpAddr>,
    /// Its link on the node.
    pub link: String,
    pub ports: Vec<PortMapping>,
}

/// Address management of one node.
#[derive(Debug)]
pub struct Ipam {
    dir: PathBuf,
    ranges: Vec<Range>,
    leases: BTreeMap<String, Lease>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    cidr: Cidr,
    /// Offset handed out last: addresses rest before they are used again.
    last: u128,
}

impl Ipam {
    /// Reads the leases in `dir`, made when absent. A file that cannot be read as a lease is an error.
    pub fn open(dir: PathBuf, cidrs: &[Cidr]) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let mut leases = BTreeMap::new();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                std::fs::remove_file(entry.path())?;
                continue;
            }
            let lease = serde_json::from_slice(&std::fs::read(entry.path())?)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", entry.path().display())))?;
            leases.insert(name, lease);
        }
        Ok(Self { dir, ranges: cidrs.iter().map(|cidr| Range { cidr: *cidr, last: 1 }).collect(), leases })
    }

    pub fn get(&self, sandbox_id: &str) -> Option<&Lease> {
        self.leases.get(sandbox_id)
    }

    pub fn leases(&self) -> impl Iterator<Item = (&String, &Lease)> {
        self.leases.iter()
    }

    /// The sandbox's lease: the one it has, or a new one with an address of every range.
    pub fn lease(&mut self, sandbox_id: &str, link: String, ports: &[PortMapping]) -> io::Result<Lease> {
        if let Some(lease) = self.leases.get(sandbox_id) {
            return Ok(lease.clone());
        }
        let mut addresses = Vec::new();
        for i in 0..self.ranges.len() {
            addresses.push(self.pick(i)?);
        }
        let lease = Lease { addresses, link, ports: ports.to_vec() };
        let text = serde_json::to_vec(&lease).map_err(io::Error::other)?;
        let (temporary, path) = (self.dir.join(format!(".{sandbox_id}")), self.dir.join(sandbox_id));
        std::fs::write(&temporary, text)?;
        std::fs::rename(temporary, path)?;
        self.leases.insert(sandbox_id.into(), lease.clone());
        Ok(lease)
    }

    pub fn release(&mut self, sandbox_id: &str) -> io::Result<Option<Lease>> {
        match std::fs::remove_file(self.dir.join(sandbox_id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(self.leases.remove(sandbox_id)),
        }
    }

    fn pick(&mut self, range: usize) -> io::Result<IpAddr> {
        let Range { cidr, last } = self.ranges[range];
        let size = cidr.size();
        // Offset 0 is the network, 1 the gateway, the last one IPv4's broadcast.
        let usable = size.saturating_sub(3);
        for step in 1..=usable {
            let offset = 2 + (last - 1 + step - 1) % usable;
            let address = cidr.nth(offset);
            if !self.leases.values().any(|lease| lease.addresses.contains(&address)) {
                self.ranges[range].last = offset;
                return Ok(address);
            }
        }
        Err(io::Error::other(format!("no free address in {cidr}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (tempfile::TempDir, Vec<Cidr>) {
        (tempfile::tempdir().unwrap(), vec!["10.244.0.0/29".parse().unwrap()])
    }

    #[test]
    fn addresses_are_unique_reused_last_and_survive_a_restart() {
        let (dir, cidrs) = small();
        let mut ipam = Ipam::open(dir.path().into(), &cidrs).unwrap();
        let take =
            |ipam: &mut Ipam, id: &str| ipam.lease(id, format!("l{id}"), &[]).map(|l| l.addresses[0].to_string());
        let first: Vec<String> = ["a", "b", "c"].iter().map(|id| take(&mut ipam, id).unwrap()).collect();
        assert_eq!(first, ["10.244.0.2", "10.244.0.3", "10.244.0.4"]);
        assert_eq!(take(&mut ipam, "a").unwrap(), "10.244.0.2");
        ipam.release("a").unwrap();
        assert_eq!(take(&mut ipam, "d").unwrap(), "10.244.0.5");
        assert_eq!(take(&mut ipam, "e").unwrap(), "10.244.0.6");
        assert_eq!(take(&mut ipam, "f").unwrap(), "10.244.0.2");
        assert_eq!(take(&mut ipam, "g").unwrap_err().to_string(), "no free address in 10.244.0.0/29");
        let mut again = Ipam::open(dir.path().into(), &cidrs).unwrap();
        assert_eq!(take(&mut again, "d").unwrap(), "10.244.0.5");
        assert!(again.release("never").unwrap().is_none());
    }
}
