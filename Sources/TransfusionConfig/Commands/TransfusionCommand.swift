public import ArgumentParser
internal import Foundation

/// The root of a command-line tool: errors are one line each on standard error, with exit code 2 for wrong use and 1 for
/// failure.
///
/// Give the conformance to the `@main` type only; subcommands stay `ParsableCommand`.
public protocol TransfusionCommand: ParsableCommand {}

extension TransfusionCommand {
    public static func main() {
        main(Array(CommandLine.arguments.dropFirst()))
    }

    public static func main(_ arguments: [String]) {
        do {
            try requireText(CommandLine.unsafeArgv, count: Int(CommandLine.argc))
            var command = try parseAsRoot(arguments)
            try command.run()
            // What was printed is the result: half of it must not look like all of it.
            if fflush(nil) != 0 {
                throw CommandFailure("standard output: cannot be written: \(String(cString: strerror(errno)))")
            }
        } catch {
            leave(error)
        }
    }

    /// Refuses arguments that are not UTF-8: a text holds other bytes in their place, and would name another file.
    private static func requireText(
        _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>, count: Int
    ) throws {
        var option: String?
        for case let argument? in (1..<max(1, count)).map({ arguments[$0] }) {
            guard let text = String(validatingCString: argument) else {
                let shown = String(cString: argument)
                let name: Substring? = shown.hasPrefix("--") ? shown.prefix { $0 != "=" } : option.map { $0[...] }
                throw CommandFailure(
                    "\(name ?? "argument"): '\(shown)' is not UTF-8 text; rename the file or directory", .wrongUse)
            }
            option = text.hasPrefix("-") ? text : nil
        }
    }

    private static func leave(_ error: any Error) -> Never {
        switch exitCode(for: error) {
        case .success:
            // A request for help, or for the version, which has more to say than is worth finding out at each start.
            let text = fullMessage(for: error)
            print(text == configuration.version ? VersionReport.text : text)
            Foundation.exit(0)
        case .validationFailure:
            // The parser adds usage lines; of them, only the one that says where to read on is kept.
            let hint = fullMessage(for: error).split(separator: "\n").last { $0.contains("--help") }
            let line = message(for: error).split(separator: "\n").first ?? "wrong use"
            leave(
                CommandFailure([line, hint?.drop { $0 == " " }].compactMap(\.self).joined(separator: " "), .wrongUse))
        case let code where error is ExitCode:
            Foundation.exit(code.rawValue)
        default:
            leave(CommandFailure(reporting: error))
        }
    }

    private static func leave(_ failure: CommandFailure) -> Never {
        fflush(nil)
        for line in failure.lines {
            StandardStream.error.write("error: \(line)\n")
        }
        Foundation.exit(failure.code.rawValue)
    }
}
