import TransfusionCore

/// What checkpoints cost a run, and how often it should save.
///
/// ### References
/// Daly 2006, "A higher order estimate of the optimum checkpoint interval for restart dumps", equation 37, which refines
/// Young 1974. What is written while training goes on does not change the best interval, only what a failure costs
/// (Vaidya 1997, "Impact of Checkpoint Latency on Overhead Ratio of a Checkpointing Scheme").
public struct CheckpointPlan: Sendable, Equatable, Codable {
    /// Of all files of a checkpoint, before compression.
    public var bytes: Int
    /// Seconds for which training stands still.
    public var stallSeconds: Double
    /// Seconds until all of it has reached the disk.
    public var writeSeconds: Double
    /// Seconds from one failure of any host to the next.
    public var secondsBetweenFailures: Double
    /// The best time from one checkpoint to the next.
    public var intervalSeconds: Double
    /// The share of the time in which steps are computed that count, with that interval.
    public var effectiveTime: Double

    /// Master weights and two moments, in f32.
    public static let bytesPerParameter = 12
    /// Master weights alone.
    public static let bytesPerFrozenParameter = 4

    /// - Parameters:
    ///   - parameters: That are trained.
    ///   - frozenParameters: That are not.
    ///   - ownedElements: Elements of which each rank saves the state.
    ///   - bytesPerSecond: That reach the disk from all hosts together, and are read back after a failure.
    ///   - restartSeconds: From a failure until the ranks load a checkpoint.
    public init(
        parameters: Int, frozenParameters: Int = 0, ownedElements: Int, isAsynchronous: Bool, machine: MachineRates,
        bytesPerSecond: Double,
        restartSeconds: Double, secondsBetweenFailures: Double
    ) {
        bytes = parameters * Self.bytesPerParameter + frozenParameters * Self.bytesPerFrozenParameter
        writeSeconds = Double(bytes) / bytesPerSecond
        // A copy in memory is enough to go on; it is read and written once, like a sum.
        let copySeconds = Double(ownedElements * Self.bytesPerParameter) / machine.sharedSumBytesPerSecond
        stallSeconds = isAsynchronous ? copySeconds : writeSeconds
        self.secondsBetweenFailures = secondsBetweenFailures
        // One checkpoint at a time.
        intervalSeconds = max(
            writeSeconds, Self.interval(stall: stallSeconds, secondsBetweenFailures: secondsBetweenFailures))
        let lost = intervalSeconds / 2 + (isAsynchronous ? writeSeconds : 0) + restartSeconds + writeSeconds
        effectiveTime =
            max(0, 1 - lost / secondsBetweenFailures) * intervalSeconds / (intervalSeconds + stallSeconds)
    }

    /// Daly's estimate of the best time between two saves that each cost `stall`.
    static func interval(stall: Double, secondsBetweenFailures: Double) -> Double {
        guard stall < 2 * secondsBetweenFailures else { return secondsBetweenFailures }
        let ratio = stall / (2 * secondsBetweenFailures)
        return (2 * stall * secondsBetweenFailures).squareRoot() * (1 + ratio.squareRoot() / 3 + ratio / 9) - stall
    }
}
