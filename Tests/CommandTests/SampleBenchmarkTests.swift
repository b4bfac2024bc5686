import Foundation
import Testing
import _TestUtilities

/// `tf-bench sample` as a process.
struct SampleBenchmarkTests {
    private let command = Command("tf-bench")

    private func sample(_ arguments: String...) throws -> Command.Result {
        try command.run(
            [
                "sample", "--model", "tiny", "--patches", "16", "--prompt", "4", "--tokens", "3", "--steps", "2",
                "--rounds", "1",
            ]
                + arguments)
    }

    @Test(arguments: [("bf16", 2), ("f32", 4)])
    func measuresWhatItSays(precision: String, bytes: Int) throws {
        let other = #"echo ready; echo '{"text_tokens_per_s": 1e-3, "seconds_per_denoising_step": 1e6}'"#
        let result = try sample("--precision", precision, "--threads", "1", "--json", "--against", other)
        #expect(result.status == 0, "\(result.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let sample = try #require(report["sample"] as? [String: Any])
        #expect(sample["type"] as? String == precision && sample["threads"] as? Int == 1)
        func number(_ key: String) throws -> Double { try #require(sample[key] as? Double, "\(key)") }
        for key in [
            "textTokensPerSecond", "readBytesPerSecond", "secondsPerDenoisingStep", "denoisingOperationsPerSecond",
            "peakOperationsPerSecond",
        ] {
            #expect(try number(key) > 0 && number(key).isFinite, "\(key)")
        }
        // The matrices of four layers, the head and one row of the embedding; nine norms stay f32.
        let matrices = 4 * (4 * 256 * 256 + 3 * 256 * 688) + 32002 * 256 + 256
        #expect(try number("weightBytesPerToken") == Double(matrices * bytes + 9 * 256 * 4))
        let read = try number("textTokensPerSecond") * number("weightBytesPerToken") / number("readBytesPerSecond")
        #expect(try abs(number("textBandwidthShare") / read - 1) < 1e-6)
        // Two branches of 16 patches that see BOS, BOI and each other; one sees the four tokens of the prompt as well.
        let perPatch = 8 * (4 * 256 * 256 + 3 * 256 * 688) + 4 * 256 * 32
        // The patches' projection and the first layer's queries, keys and values are made once for both.
        let onceForBoth = 2 * 3 * 256 * 256 + 2 * 256 * 32
        let timestep = 2 * (256 * 256 + 256 * 256 + 256 * 32)
        let operations = Double(32 * perPatch - 16 * onceForBoth + 16 * (18 + 22) * 4 * 4 * 256 + timestep)
        let measured = try number("denoisingOperationsPerSecond") * number("secondsPerDenoisingStep")
        #expect(abs(measured / operations - 1) < 1e-6)

        let against = try #require(report["against"] as? [String: Double])
        #expect(against["runs"] == 1)
        #expect(try abs(#require(against["textRatio"]) / (number("textTokensPerSecond") * 1000) - 1) < 1e-6)
        #expect(try abs(#require(against["denoisingRatio"]) * number("secondsPerDenoisingStep") / 1e6 - 1) < 1e-6)
    }

    @Test func wrongUseIsOneLine() throws {
        for (arguments, hint) in [
            (["--patches", "15"], "--patches"), (["--rounds", "0"], "--rounds"), (["--steps", "1000"], "--steps"),
            (["--tokens", "0"], "--tokens"), (["--precision", "i32"], "--precision"), (["--model", "9b"], "9b"),
            (["--against", "echo nothing"], "text_tokens_per_s"),
        ] {
            let result = try command.run(["sample", "--model", "tiny"] + arguments)
            #expect(result.status == 2 && result.output.isEmpty, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(hint), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
    }
}
