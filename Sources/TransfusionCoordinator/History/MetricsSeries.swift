internal import TransfusionTelemetry

/// The metrics of a run from its beginning in a bounded number of points, however long it is.
///
/// A point stands for `stride` records in a row. When there are too many points, each two become one: adding a record
/// takes constant time, and nothing is read twice.
struct MetricsSeries {
    /// The most points.
    static let limit = 600

    private var stride = 1
    private var points: [Point] = []
    /// The records after the last point.
    private var open: Point?

    mutating func add(_ record: StepRecord) {
        let point = Point(record)
        open = open.map { $0 + point } ?? point
        guard let full = open, full.records == stride else { return }
        points.append(full)
        open = nil
        guard points.count == Self.limit else { return }
        points = Swift.stride(from: 0, to: points.count, by: 2).map { points[$0] + points[$0 + 1] }
        stride *= 2
    }

    /// A column for each value.
    var columns: MetricsColumns {
        let all = points + [open].compactMap(\.self)
        func mean(_ value: KeyPath<Point, Double>) -> [Float] {
            all.map { Float($0[keyPath: value] / Double($0.records)) }
        }
        func parts(_ value: KeyPath<Point, [String: Sum]>) -> [String: [Float]] {
            let names = Set(all.flatMap { $0[keyPath: value].keys })
            let columns = names.map { name in (name, all.map { $0[keyPath: value][name]?.mean ?? .nan }) }
            return Dictionary(uniqueKeysWithValues: columns)
        }
        return MetricsColumns(
            recordsPerPoint: stride, step: all.map(\.step), loss: mean(\.loss),
            losses: parts(\.losses), validationLoss: all.map { $0.validationLoss?.mean ?? .nan },
            validationLosses: parts(\.validationLosses), gradientNorm: all.map { Float($0.gradientNorm) },
            learningRate: mean(\.learningRate), tokensPerSecond: mean(\.tokensPerSecond),
            mfu: all.map { $0.recordsWithMFU > 0 ? Float($0.mfu / Double($0.recordsWithMFU)) : .nan })
    }

    /// Of those records that have the number.
    private struct Sum {
        var sum: Double
        var records = 1

        var mean: Float { Float(sum / Double(records)) }

        static func + (a: Sum, b: Sum) -> Sum { Sum(sum: a.sum + b.sum, records: a.records + b.records) }
    }

    private struct Point {
        var records = 1
        /// Of the last record.
        var step: Int
        // Sums over the records, but for the norm: of that the largest matters.
        var loss: Double
        var losses: [String: Sum]
        var validationLoss: Sum?
        var validationLosses: [String: Sum]
        var gradientNorm: Double
        var learningRate: Double
        var tokensPerSecond: Double
        /// Of the records that have one.
        var mfu: Double
        var recordsWithMFU: Int

        init(_ record: StepRecord) {
            step = record.step
            loss = record.loss
            losses = record.losses.mapValues { Sum(sum: $0) }
            validationLoss = record.validation.map { Sum(sum: $0.loss) }
            validationLosses = record.validation?.losses.mapValues { Sum(sum: $0) } ?? [:]
            gradientNorm = record.gradientNorm
            learningRate = record.learningRate
            tokensPerSecond = record.tokensPerSecond
            mfu = record.modelFLOPsUtilization ?? 0
            recordsWithMFU = record.modelFLOPsUtilization == nil ? 0 : 1
        }

        static func + (a: Point, b: Point) -> Point {
            var sum = b
            sum.records += a.records
            sum.loss += a.loss
            sum.losses.merge(a.losses, uniquingKeysWith: +)
            if let earlier = a.validationLoss {
                sum.validationLoss = sum.validationLoss.map { earlier + $0 } ?? earlier
            }
            sum.validationLosses.merge(a.validationLosses, uniquingKeysWith: +)
            sum.gradientNorm =
                a.gradientNorm.isNaN || b.gradientNorm.isNaN ? .nan : max(a.gradientNorm, b.gradientNorm)
            sum.learningRate += a.learningRate
            sum.tokensPerSecond += a.tokensPerSecond
            sum.mfu += a.mfu
            sum.recordsWithMFU += a.recordsWithMFU
            return sum
        }
    }
}

/// What charts show: a value of each column belongs to the step in the same place.
public struct MetricsColumns: Codable, Sendable, Equatable {
    /// Each point is the mean of so many records; of gradient norms, the largest.
    public var recordsPerPoint: Int
    public var step: [Int]
    public var loss: [Float]
    /// The parts of the loss; NaN where no record has the part.
    public var losses: [String: [Float]]
    /// On data that is not trained on; NaN where it was not measured.
    public var validationLoss: [Float]
    public var validationLosses: [String: [Float]]
    public var gradientNorm: [Float]
    public var learningRate: [Float]
    public var tokensPerSecond: [Float]
    /// NaN where no record has one.
    public var mfu: [Float]
}
