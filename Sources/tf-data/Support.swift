import Foundation
import TransfusionConfig

func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// The progress lines of work that has several phases, one after the other.
final class PhaseProgress {
    private var phase = ""
    private var line = ProgressLine("", total: 0)

    func update(_ phase: String, _ done: Int, _ total: Int) {
        if phase != self.phase {
            line.clear()
            self.phase = phase
            line = ProgressLine(phase, total: total)
        }
        line.update(done)
    }

    func clear() { line.clear() }
}
