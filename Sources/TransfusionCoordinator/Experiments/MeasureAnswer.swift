internal import Foundation
internal import Subprocess
internal import SystemPackage
internal import TransfusionCheckpoint
internal import TransfusionConfig

/// The JSON that a command has printed about a run.
struct MeasureAnswer {
    private let program: String
    private let json: JSONValue

    /// - Throws: `CommandFailure` when it is none.
    init(_ printed: String, of command: [String]) throws {
        program = command.prefix(2).joined(separator: " ")
        guard let json = try? JSONDecoder().decode(JSONValue.self, from: Data(printed.utf8)) else {
            throw CommandFailure("\(program): printed no JSON; add --json to the command")
        }
        self.json = json
    }

    /// The number below names, which are members of objects or places in lists.
    /// - Returns: nil where there is null: the measure has no value.
    func number(at path: [String]) throws -> Double? {
        var value = json
        for name in path {
            switch value {
            case .object(let members):
                guard let member = members[name] else {
                    throw CommandFailure(
                        "\(program): prints no \(name); there are \(members.keys.sorted().prefix(20).joined(separator: ", "))"
                    )
                }
                value = member
            case .array(let items):
                guard let place = Int(name), items.indices.contains(place) else {
                    throw CommandFailure("\(program): \(name) is no place in a list of \(items.count)")
                }
                value = items[place]
            default:
                throw CommandFailure("\(program): there is nothing below \(path.joined(separator: ".")) in its JSON")
            }
        }
        if value == .null { return nil }
        guard let number = value.number else {
            throw CommandFailure("\(program): \(path.joined(separator: ".")) is no number in its JSON")
        }
        return number
    }

    /// A field of the last record of a run that has it; nil where it is no number, as in a run that has diverged.
    static func field(_ name: String, ofRun run: RunDirectory) throws -> Double? {
        guard let data = try? Data(contentsOf: URL(filePath: run.metrics), options: .mappedIfSafe) else {
            throw CommandFailure("\(run.metrics): cannot be read")
        }
        var names: Set<String> = []
        for line in data.split(separator: UInt8(ascii: "\n")).reversed() {
            guard let record = try? JSONDecoder().decode([String: JSONValue].self, from: Data(line)) else { continue }
            if let value = record[name] { return value.number }
            names.formUnion(record.keys)
        }
        throw CommandFailure(
            "no record of \(run.metrics) has \(name)"
                + (name.hasPrefix("validation_") ? " (is evaluation.every_steps set?)" : "")
                + "; there are \(names.sorted().joined(separator: ", "))")
    }
}

/// One of the project's commands, run for its output.
public enum MeasureCommand {
    /// - Parameters:
    ///   - words: The program, which lies beside this one, and its arguments.
    ///   - isStopped: Looked at several times a second; then the command is ended.
    /// - Returns: What it printed; nil when it was ended on request.
    /// - Throws: `CommandFailure` with its last line of errors.
    public static func run(_ words: [String], isStopped: @escaping @Sendable () -> Bool) async throws -> String? {
        let name = words.prefix(2).joined(separator: " ")
        let program = InstalledProgram.beside(words.first ?? "")
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw CommandFailure("\(program): is missing; install it beside tf-coord")
        }
        var options = PlatformOptions()
        // Ctrl-C in a terminal goes to this process alone, which ends the command.
        options.createSession = true
        options.teardownSequence = [
            .gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(2))
        ]
        return try await withThrowingTaskGroup(of: String?.self) { [options] group in
            group.addTask {
                let result = try await Subprocess.run(
                    .path(FilePath(program)), arguments: Arguments(Array(words.dropFirst())), platformOptions: options,
                    output: .string(limit: 16 << 20), error: .string(limit: 4 << 20))
                guard result.terminationStatus.isSuccess else {
                    let reason = result.standardError.split(separator: "\n").last.map(String.init)
                    throw CommandFailure("\(name): \(reason ?? "failed without a word")")
                }
                return result.standardOutput
            }
            group.addTask {
                while !isStopped() { try await Task.sleep(for: .milliseconds(100)) }
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }
}
