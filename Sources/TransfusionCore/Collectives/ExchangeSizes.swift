/// How ranks cut what they exchange: what the collectives do, and what plans of time and memory are based on.
public enum ExchangeSizes {
    /// Elements of a gradient bucket: 32 MiB, much longer than what a call costs and much shorter than a model.
    public static let bucketElements = 8 << 20

    /// Bytes that a rank writes at a time for the other ranks of its host to read. Those of two ranks, for two rounds each,
    /// fit a second-level cache.
    public static let stagingBytes = 1 << 20

    /// Bytes of one message of a reduction among so many hosts. All messages of a round together are what a rank receives
    /// at a time: enough for the network's full speed, and little enough to stay in a cache until it is added.
    public static func messageBytes(hosts: Int) -> Int {
        max(64 << 10, (4 << 20) / hosts & ~63)
    }
}
