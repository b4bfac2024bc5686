internal import Foundation
internal import TransfusionTelemetry

/// Follows the metrics of a run as they are written, and adds up what the status needs.
struct MetricsTail {
    /// A loss far above those before it.
    struct Spike: Equatable {
        let step: Int
        /// In standard deviations.
        let deviation: Double
    }

    private let path: String
    private let spikeLimit: Double?
    private var offset = 0
    private var losses = OutlierWindow(size: 64)
    /// Of the last records, the newest last.
    private var recentStepSeconds: [Double] = []

    private(set) var latest: StepRecord?
    /// All records in a bounded number of points.
    private(set) var series = MetricsSeries()
    /// Seconds in which the steps were computed that count: those that were not done again later.
    private(set) var productiveSeconds = 0.0
    /// The newest spike, and how many records have come since.
    private var newestSpike: (spike: Spike, age: Int)?
    /// A spike is worth a look for so many records.
    private static let spikeMemory = 64

    /// - Parameter spikeLimit: Standard deviations above the recent losses from which on one is a spike; nil for none.
    init(path: String, spikeLimit: Double? = nil) {
        self.path = path
        self.spikeLimit = spikeLimit
    }

    /// The newest spike, if there was one of late.
    var spike: Spike? { newestSpike?.spike }

    /// Reads anew from the beginning: a launch that begins at a checkpoint has taken away the records after it.
    mutating func restart() {
        self = MetricsTail(path: path, spikeLimit: spikeLimit)
    }

    /// Reads what has been added.
    mutating func refresh() {
        guard let file = FileHandle(forReadingAtPath: path) else { return }
        defer { try? file.close() }
        guard let size = try? file.seekToEnd(), size != UInt64(offset) else { return }
        if size < UInt64(offset) { restart() }
        let isWholeFile = offset == 0
        // In pieces: the file of a long run is larger than the coordinator should be.
        while (try? file.seek(toOffset: UInt64(offset))) != nil, let data = try? file.read(upToCount: Self.pieceBytes) {
            var start = data.startIndex
            while let newline = data[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if let record = StepRecord(json: data[start..<newline]) {
                    if record.step > latest?.step ?? 0 {
                        add(record)
                    } else if !isWholeFile {
                        // A step that comes again: the log was cut and has grown beyond what was read of it.
                        restart()
                        return refresh()
                    }
                }
                start = newline + 1
            }
            guard start > data.startIndex else { return }
            offset += start - data.startIndex
        }
    }

    private static let pieceBytes = 1 << 20

    private mutating func add(_ record: StepRecord) {
        let steps = record.step - (latest?.step ?? 0)
        productiveSeconds += record.stepSeconds * Double(max(0, steps))
        newestSpike = newestSpike.flatMap { $0.age < Self.spikeMemory ? ($0.spike, $0.age + 1) : nil }
        if let deviation = losses.zScore(adding: record.loss), let spikeLimit, deviation > spikeLimit {
            newestSpike = (Spike(step: record.step, deviation: deviation), 0)
        }
        series.add(record)
        recentStepSeconds.append(record.stepSeconds)
        if recentStepSeconds.count > 32 { recentStepSeconds.removeFirst() }
        latest = record
    }

    /// What a step takes at present: the median of the last records, which one slow step does not move.
    var stepSeconds: Double? {
        recentStepSeconds.isEmpty ? nil : recentStepSeconds.sorted()[recentStepSeconds.count / 2]
    }
}
