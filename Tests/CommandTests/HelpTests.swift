import Foundation
import Testing
import TransfusionSupport
import _TestUtilities

/// What `--help` prints in a terminal of 80 columns.
@Suite struct HelpTests {
    /// Every command with the subcommands that its help lists.
    private static let commands = [
        (
            "tf-coord",
            [
                "run", "serve", "submit", "status", "dashboard", "logs", "stop", "resume", "hosts", "plan", "config",
                "experiment", "token",
            ]
        ),
        ("tf-ckpt", ["list", "inspect", "verify", "diff", "reshard", "convert", "prune", "export-weights"]),
        ("tf-sample", ["image", "edit", "text", "caption", "reconstruct"]),
        (
            "tf-eval",
            [
                "forward", "autoencode", "scaling", "cider", "frechet", "clip-score", "edit", "composition", "loss",
                "perplexity", "ranked", "suite",
            ]
        ),
        ("tf-worker", []),
        (
            "tf-data",
            [
                "emoji", "scenes", "gallery", "import", "encode", "inspect", "verify", "tokenizer", "tokenizer train",
                "tokenizer encode", "tokenizer decode",
            ]
        ),
        ("tf-bench", ["step", "run", "sample", "kernels", "collectives", "checkpoint", "rates", "import", "host"]),
    ]

    /// The lines of the discussion, as they were written.
    private func discussion(_ command: String, _ subcommand: String?) throws -> [Substring] {
        let words = subcommand?.split(separator: " ").map(String.init) ?? []
        let help = try Command(command).run(words + ["--help"], environment: ["COLUMNS": "500"])
        #expect(help.status == 0)
        return help.output.split(separator: "\n", omittingEmptySubsequences: false).dropFirst()
            .prefix { !$0.hasPrefix("USAGE:") }
    }

    @Test(arguments: commands) func theVersionIsTheSameEverywhere(_ command: String, _ subcommands: [String]) throws {
        let result = try Command(command).run(["--version"])
        #expect(result.status == 0 && result.errors.isEmpty)
        let lines = result.output.split(separator: "\n")
        #expect(lines.first == "transfusion \(ProductVersion.full)")
        let numbers = try ["compiler: Swift ", "Open MPI: ", "OpenBLAS: ", "oneDNN: "].map { name in
            let line = try #require(lines.first { $0.hasPrefix(name) }, "\(name) in \(result.output)")
            return line.dropFirst(name.count).prefix { $0.isNumber || $0 == "." }
        }
        for number in numbers { #expect(number.contains("."), "\(result.output)") }
        #expect(["x86-64-v4", "x86-64-v3", "baseline"].contains { lines.last == "kernels: \($0)" })
    }

    @Test(arguments: commands) func examplesStayOnTheirLines(_ command: String, _ subcommands: [String]) throws {
        for subcommand in [nil] + subcommands {
            let lines = try discussion(command, subcommand)
            for line in lines { #expect(line.count <= 78, "\(line)") }
            guard let subcommand else { continue }
            #expect(lines.contains { $0.contains("\(command) \(subcommand)") }, "\(command) \(subcommand)")
        }
    }
}
