import ArgumentParser
import Testing

@testable import TransfusionConfig

/// A command whose outcome its option decides.
private struct Probe: TransfusionCommand {
    static let configuration = CommandConfiguration(commandName: "tf-probe")

    @Option var outcome: String

    func run() throws {
        switch outcome {
        case "configuration": _ = try RunConfiguration(yaml: "sede: 1\nmodle: 2", file: "x.yaml")
        case "failure": throw CommandFailure("x.shard: is truncated; run tf-ckpt verify")
        case "stop": throw CommandFailure("checkpoint saved", .checkpointedAndStopped)
        case "late": throw ValidationError("--outcome is not good; use another")
        default: break
        }
    }
}

struct TransfusionCommandTests {
    @Test func errorsHaveOneLineAndTheirExitCode() async throws {
        let failure = try #require(
            await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
                Probe.main(["--outcome", "failure"])
            })
        #expect(text(failure) == "error: x.shard: is truncated; run tf-ckpt verify\n")

        let configuration = try #require(
            await #expect(processExitsWith: .exitCode(2), observing: [\.standardErrorContent]) {
                Probe.main(["--outcome", "configuration"])
            })
        #expect(
            text(configuration) == """
                error: x.yaml:1: sede: there is no such key; did you mean seed?
                error: x.yaml:2: modle: there is no such key; did you mean model?

                """)

        let wrongUse = try #require(
            await #expect(processExitsWith: .exitCode(2), observing: [\.standardErrorContent]) { Probe.main(["--x"]) })
        #expect(text(wrongUse).hasPrefix("error: "))
        #expect(text(wrongUse).contains("tf-probe --help"))
        #expect(text(wrongUse).count { $0 == "\n" } == 1)

        let late = try #require(
            await #expect(processExitsWith: .exitCode(2), observing: [\.standardErrorContent]) {
                Probe.main(["--outcome", "late"])
            })
        #expect(text(late).hasPrefix("error: --outcome is not good; use another"))

        await #expect(processExitsWith: .exitCode(85)) { Probe.main(["--outcome", "stop"]) }
        let help = try #require(
            await #expect(processExitsWith: .exitCode(0), observing: [\.standardOutputContent]) {
                Probe.main(["--help"])
            })
        #expect(String(decoding: help.standardOutputContent, as: UTF8.self).contains("USAGE: tf-probe"))
    }

    private func text(_ result: ExitTest.Result) -> String {
        String(decoding: result.standardErrorContent, as: UTF8.self)
    }

    @Test func progressSaysHowFarAndHowLong() {
        let line = { ProgressLine.line("packing", done: $0, of: $1, after: .seconds(30), note: $2) }
        #expect(line(50, 200, "loss 2.3") == "packing  50/200 25%  eta 1m30s  loss 2.3")
        #expect(line(0, 200, "") == "packing  0/200 0%")
        #expect(line(200, 200, "") == "packing  200/200 100%")
        #expect(line(7, 0, "") == "packing  7")
        #expect(Duration.seconds(3960).brief == "1h06m")
        #expect(Duration.seconds(59).brief == "59s")
        #expect(Duration.seconds(200_000).brief == "2d07h")
    }
}
