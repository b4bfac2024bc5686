internal import TransfusionCore
internal import TransfusionParallel
internal import TransfusionTelemetry

/// What the processors of all ranks can do, and whether somebody else uses them. All ranks make one and call it alike.
///
/// The rate of large matrix products, of which utilisation is a share, is worth something only if nobody else used the
/// processors while it was measured. If somebody did, it is measured again when it has become quiet, and until then there
/// is no utilisation.
final class Utilization {
    /// Floating-point operations per second of all ranks together.
    private(set) var peakRate = 0.0
    /// The share of the processors that others took while it was measured; nil where the kernel does not say.
    private(set) var othersShareAtPeak: Double?

    private let group: any Communicator
    private let context: Context
    private let use: JobProcessorUse
    private var secondsSincePeak = 0.0
    /// A measurement takes a fifth of a second of training.
    private static let secondsBetweenPeaks = 30.0

    init(_ group: any Communicator, _ context: Context) throws {
        self.group = group
        self.context = context
        use = try JobProcessorUse(group)
        try measurePeak()
    }

    /// Measures what all ranks can do when they compute at the same time.
    private func measurePeak() throws {
        secondsSincePeak = 0
        try group.barrier(site: "peak rate")
        _ = try use.take()
        let rate = context.measuredPeakRate()
        let (share, sums) = try use.take(adding: [rate])
        peakRate = sums[0]
        othersShareAtPeak = share
    }

    /// Whether the peak is what the processors can do, as far as is known.
    var isPeakQuiet: Bool { othersShareAtPeak.map { $0 <= ProcessorUse.quietShare } ?? false }

    /// What steps reached, and whether others took processors meanwhile. Measures the peak again where that is due.
    ///
    /// - Parameters:
    ///   - rate: Floating-point operations per second of all ranks since the last call; rank 0's counts.
    ///   - seconds: Since the last call; rank 0's count.
    /// - Returns: The rate as a share of the peak, nil when that is not known; and the share of the processors that others
    ///   took, nil where a kernel does not say.
    func take(rate: Double, seconds: Double) throws -> (utilization: Double?, othersShare: Double?) {
        let speaks = group.rank == 0
        let (share, sums) = try use.take(adding: [speaks ? rate : 0, speaks ? seconds : 0])
        // Steps that are faster than the peak show that it was none.
        if sums[0] > peakRate { othersShareAtPeak = nil }
        let utilization = isPeakQuiet ? sums[0] / peakRate : nil
        secondsSincePeak += sums[1]
        if !isPeakQuiet, let share, share <= ProcessorUse.quietShare, secondsSincePeak >= Self.secondsBetweenPeaks {
            try measurePeak()
        }
        return (utilization, share)
    }
}
