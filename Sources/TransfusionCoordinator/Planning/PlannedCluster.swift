import TransfusionCore
public import TransfusionModels

/// The hosts that a plan is for, all alike.
public struct PlannedCluster: Sendable, Equatable, Codable {
    public var hosts: Int
    /// Of each host.
    public var cores: Int
    /// What the ranks of a host may take together, in bytes.
    public var memoryBytes: Int
    public var network: NetworkRates
    /// Hours from one failure of a host to its next.
    public var hostHoursBetweenFailures: Double
    /// Bytes a second that reach the file system of the checkpoints from all hosts together.
    public var checkpointBytesPerSecond: Double

    public init(
        hosts: Int, cores: Int, memoryBytes: Int, network: NetworkRates, hostHoursBetweenFailures: Double,
        checkpointBytesPerSecond: Double
    ) {
        self.hosts = hosts
        self.cores = cores
        self.memoryBytes = memoryBytes
        self.network = network
        self.hostHoursBetweenFailures = hostHoursBetweenFailures
        self.checkpointBytesPerSecond = checkpointBytesPerSecond
    }
}
