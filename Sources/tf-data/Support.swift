import ArgumentParser
import Foundation
import TransfusionData

/// Turns a library error into the one line and the exit code the commands promise.
func reporting(_ body: () throws -> Void) throws {
    do {
        try body()
    } catch let error as DataError {
        FileHandle.standardError.write(Data("error: \(error.description)\n".utf8))
        throw ExitCode(1)
    }
}

func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// One line on a terminal that says what is being done, how far it is and how long it will take.
final class ProgressLine {
    private let isShown = isatty(2) != 0
    private var phase = ""
    private var began = Date()
    private var shownAt = Date.distantPast

    func update(_ phase: String, _ fraction: Double) {
        guard isShown else { return }
        let now = Date()
        if phase != self.phase {
            self.phase = phase
            began = now
        } else if now.timeIntervalSince(shownAt) < 0.1 {
            return
        }
        shownAt = now
        var line = phase
        if fraction > 0 {
            let left = now.timeIntervalSince(began) * (1 - fraction) / fraction
            line += " \(Int(fraction * 100)) %, \(Int(left.rounded(.up))) s left"
        }
        FileHandle.standardError.write(Data("\r\u{1B}[K\(line)".utf8))
    }

    func finish() {
        if isShown { FileHandle.standardError.write(Data("\r\u{1B}[K".utf8)) }
    }
}
