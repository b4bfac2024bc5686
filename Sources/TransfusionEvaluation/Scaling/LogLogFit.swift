import Foundation
import TransfusionCore

/// A power law, metric = exp(intercept) · FLOPs^slope: least squares of the logarithm of a metric on that of the FLOPs.
public struct LogLogFit: Encodable, Sendable, Equatable {
    public let slope: Double
    public let intercept: Double
    /// The share of the variance of the logarithms that the line explains.
    public let r2: Double
    public let points: Int

    /// Nil when the line is not determined: fewer than two different numbers of FLOPs, or values that are not finite.
    init?(flops: [Double], values: [Double]) {
        let x = flops.map { log($0) }, y = values.map { log($0) }
        guard let first = x.first, x.contains(where: { $0 != first }) else { return nil }
        let count = Double(x.count)
        let meanX = x.reduce(0, +) / count, meanY = y.reduce(0, +) / count
        var xx = 0.0, xy = 0.0, yy = 0.0
        for (x, y) in zip(x, y) {
            xx += (x - meanX) * (x - meanX)
            xy += (x - meanX) * (y - meanY)
            yy += (y - meanY) * (y - meanY)
        }
        slope = xy / xx
        intercept = meanY - slope * meanX
        r2 = yy > 0 ? xy * xy / (xx * yy) : 1
        points = x.count
        guard slope.isFinite, intercept.isFinite else { return nil }
    }

    /// The value of the law.
    func value(atFLOPs flops: Double) -> Double { exp(intercept + slope * log(flops)) }

    /// How many FLOPs give a value, divided by `flops`. Nil when the law is flat, or the answer is out of all proportion.
    func ratio(toReach value: Double, against flops: Double) -> Double? {
        let ratio = exp((log(value) - intercept) / slope - log(flops))
        return ratio.isFinite && ratio > 0 ? ratio : nil
    }
}

extension LogLogFit {
    private static let resamples = 2000

    /// The 95 % interval of the ratio, by resampling the points 2000 times with replacement (percentiles). Nil when most
    /// resamples determine no line.
    static func interval(
        flops: [Double], values: [Double], toReach value: Double, against target: Double, seed: UInt64
    ) -> [Double]? {
        var ratios: [Double] = []
        for resample in 0..<resamples {
            let random = Philox(seed: seed, purpose: .resampling, step: resample)
            let chosen = flops.indices.map { random.integer(below: flops.count, at: $0) }
            let fit = LogLogFit(flops: chosen.map { flops[$0] }, values: chosen.map { values[$0] })
            if let ratio = fit?.ratio(toReach: value, against: target) { ratios.append(ratio) }
        }
        guard ratios.count > resamples / 2 else { return nil }
        ratios.sort()
        return [0.025, 0.975].map { share in
            let place = share * Double(ratios.count - 1)
            let below = Int(place), above = min(below + 1, ratios.count - 1)
            return ratios[below] + (place - Double(below)) * (ratios[above] - ratios[below])
        }
    }
}
