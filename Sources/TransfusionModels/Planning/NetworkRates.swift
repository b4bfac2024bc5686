import TransfusionCore

/// What the network between hosts does: what `tf-coord plan' works with.
public struct NetworkRates: Sendable, Equatable, Codable {
    /// Bytes a second that a host sends while it receives as many.
    public var bytesPerSecond: Double
    /// Seconds of a message without content.
    public var latency: Double

    public init(bytesPerSecond: Double, latency: Double) {
        self.bytesPerSecond = bytesPerSecond
        self.latency = latency
    }

    /// Seconds in which `hosts` hosts exchange vectors pairwise, so that each ends with its part of the sum, or with the
    /// parts of all: with p hosts, p − 1 messages for each piece of `messageBytes`, and (p − 1) / p of the vector through
    /// each host's connection.
    ///
    /// - Parameters:
    ///   - bytes: Of the vectors of all ranks of a host together.
    ///   - ranks: Ranks of a host that exchange at the same time, each an equal part of `bytes`.
    ///   - buckets: Calls into which the vectors are cut.
    ///
    /// ### References
    /// Thakur, Rabenseifner and Gropp 2005, "Optimization of Collective Communication Operations in MPICH", sections 4.1
    /// (all-gather) and 4.3 (pairwise reduce-scatter).
    func exchangeSeconds(bytes: Double, hosts: Int, ranks: Int, buckets: Int, messageBytes: Int) -> Double {
        guard hosts > 1, bytes > 0 else { return 0 }
        let partners = Double(hosts - 1), pieceBytes = bytes / (Double(hosts) * Double(ranks) * Double(max(1, buckets)))
        let messages = partners * Double(max(1, buckets)) * (pieceBytes / Double(messageBytes)).rounded(.up)
        return messages * latency + bytes * partners / Double(hosts) / bytesPerSecond
    }
}
