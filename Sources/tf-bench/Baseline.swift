import Foundation
import TransfusionConfig
import TransfusionTraining

/// Runs another program that measures itself.
///
/// - Parameters:
///   - command: For the shell; its last line is one JSON object.
///   - key: A key that the object must have, for the error message.
func runBaseline<Result: Decodable>(_ command: String, printing key: String) throws -> Result {
    let process = Process(), output = Pipe()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = ["-c", command]
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus == 0, let line = text.split(separator: "\n").last,
        let result = try? JSONDecoder().decode(Result.self, from: Data(line.utf8))
    else {
        throw CommandFailure(
            "--against: '\(command)' ended with \(process.terminationStatus) and no JSON line with \(key)", .wrongUse)
    }
    return result
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// What a program that is measured in turn with training steps says of itself.
struct BaselineResult: Decodable {
    let tokensPerSecond: Double
    let peakMebibytes: Double?

    private enum CodingKeys: String, CodingKey {
        case tokensPerSecond = "tokens_per_s"
        case peakMebibytes = "peak_rss_mib"
    }
}

/// Ours beside the other program: above 1 is faster, below 1 less memory.
struct Comparison: Codable {
    let tokensPerSecond: Double
    let runs: Int
    let speedRatio: Double
    let memoryRatio: Double?

    init(_ result: StepBenchmark.Result, _ baseline: [BaselineResult]) {
        tokensPerSecond = median(baseline.map(\.tokensPerSecond))
        runs = baseline.count
        speedRatio = result.tokensPerSecond / tokensPerSecond
        let memory = baseline.compactMap(\.peakMebibytes)
        memoryRatio = memory.isEmpty ? nil : Double(result.peakResidentBytes) / 1_048_576 / median(memory)
    }
}
