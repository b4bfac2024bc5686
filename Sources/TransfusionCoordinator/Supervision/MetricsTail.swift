internal import Foundation
internal import TransfusionTelemetry

/// Follows the metrics of a run as they are written, and adds up what the status needs.
struct MetricsTail {
    private let path: String
    private var offset = 0
    private var losses = OutlierWindow(size: 64)
    /// Of the last records, the newest last.
    private var recentStepSeconds: [Double] = []

    private(set) var latest: StepRecord?
    /// All records in a bounded number of points.
    private(set) var series = MetricsSeries()
    /// Seconds in which the steps were computed that count: those that were not done again later.
    private(set) var productiveSeconds = 0.0
    /// The newest loss in standard deviations from those before it.
    private(set) var lossDeviation: Double?

    init(path: String) {
        self.path = path
    }

    /// Reads anew from the beginning: a launch that begins at a checkpoint has taken away the records after it.
    mutating func restart() {
        self = MetricsTail(path: path)
    }

    /// Reads what has been added.
    mutating func refresh() {
        guard let file = FileHandle(forReadingAtPath: path) else { return }
        defer { try? file.close() }
        guard let size = try? file.seekToEnd(), size != UInt64(offset) else { return }
        if size < UInt64(offset) { restart() }
        guard (try? file.seek(toOffset: UInt64(offset))) != nil, let data = try? file.readToEnd() else { return }
        let isWholeFile = offset == 0
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
        offset += start - data.startIndex
    }

    private mutating func add(_ record: StepRecord) {
        let steps = record.step - (latest?.step ?? 0)
        productiveSeconds += record.stepSeconds * Double(max(0, steps))
        lossDeviation = losses.zScore(adding: record.loss)
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
