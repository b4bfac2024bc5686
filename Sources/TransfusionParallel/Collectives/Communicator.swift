public import TransfusionCore

/// A group of ranks that can be divided into smaller groups.
public protocol Communicator: Collectives {
    /// For each rank, the number of its host; ranks on one host can share memory.
    var hosts: [Int] { get }

    /// Divides the group: ranks that name the same `color` form a new group, in the order of (`key`, old rank).
    ///
    /// All ranks of this group call it. A group of one costs nothing afterwards.
    /// - Parameter name: what the new group is called in reports, such as "data" or "tensor".
    func split(color: Int, key: Int, name: String) throws -> any Communicator

    /// Memory for numbers that this group reduces often. Where ranks share a host, collectives on it read the
    /// neighbours' memory directly instead of copying; elsewhere it is ordinary memory.
    ///
    /// All ranks of the group call it with the same size, and use the same part of it in the same call.
    func allocateShared(byteCount: Int) throws -> SharedBuffer
}

extension SingleRank: Communicator {
    public var hosts: [Int] { [0] }
    public func split(color: Int, key: Int, name: String) -> any Communicator { self }
    public func allocateShared(byteCount: Int) -> SharedBuffer { SharedBuffer(privateBytes: byteCount) }
}

extension Communicator {
    /// How many ranks share this rank's host, itself included.
    public var ranksOnOwnHost: Int { hosts.count { $0 == hosts[rank] } }
}
