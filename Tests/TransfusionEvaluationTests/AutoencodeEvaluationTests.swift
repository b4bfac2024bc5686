import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionEvaluation
import _TestUtilities

@Suite struct AutoencodeEvaluationTests {
    private func problem(_ checkpoint: String, _ batch: String, _ directory: TemporaryDirectory) -> String? {
        let evaluation = AutoencodeEvaluation(
            checkpoint: checkpoint, batch: batch, output: directory.file("out.safetensors"))
        return #expect(throws: CheckpointError.self) { try evaluation.run() }?.problem
    }

    @Test(arguments: ["kl", "vq"]) func agreesWithDiffusers(_ kind: String) throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/\(kind)")
        let output = directory.file("out.safetensors")
        var evaluation = AutoencodeEvaluation(
            checkpoint: folder, batch: folder + "/batch.safetensors", output: output)
        evaluation.computesGradients = true
        evaluation.threads = 2
        let report = try evaluation.run()
        let ours = Fixture.whole(path: output), theirs = Fixture.whole("autoencoder/\(kind)/results.safetensors")
        #expect(Set(ours.values.keys) == Set(theirs.values.keys))
        for (name, expected) in theirs.values {
            #expect(ours[name].shape == expected.shape, "\(name)")
            if name == "codes" {
                #expect(ours[name].floats == expected.floats)
                #expect(report.codesUsed == Set(expected.floats).count)
            } else if name.hasSuffix("to_k.bias") {
                // What is added to all keys alike does not change a softmax: zero but for rounding.
                #expect(ours[name].floats.allSatisfy { abs($0) < 1e-6 })
                #expect(expected.floats.allSatisfy { abs($0) < 1e-9 })
            } else {
                let error = relativeError(ours[name].floats, expected.floats)
                #expect(error < (name.hasPrefix("grad.") ? 1e-3 : 1e-4), "\(name): \(error)")
            }
        }
    }

    @Test func bf16IsNear() throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/kl")
        let output = directory.file("out.safetensors")
        var evaluation = AutoencodeEvaluation(
            checkpoint: folder, batch: folder + "/batch.safetensors", output: output)
        evaluation.type = .bf16
        _ = try evaluation.run()
        let ours = Fixture.whole(path: output), theirs = Fixture.whole("autoencoder/kl/results.safetensors")
        #expect(relativeError(ours["reconstruction"].floats, theirs["reconstruction"].floats) < 0.05)
    }

    @Test func badBatchesAreRefusedByName() throws {
        let directory = try TemporaryDirectory(), folder = Fixtures.path("autoencoder/kl")
        func batch(_ name: String, _ tensors: [SafetensorsTensor]) throws -> String {
            try SafetensorsWriter().write(tensors, to: directory.file(name))
            return directory.file(name)
        }
        func zeros(_ name: String, _ shape: [Int]) -> SafetensorsTensor {
            SafetensorsTensor(name, .f32, shape, [Float](repeating: 0, count: shape.reduce(1, *)))
        }
        #expect(
            problem(folder, try batch("odd", [zeros("images", [1, 3, 7, 8])]), directory)
                == "tensor images has pictures of 7 × 8; multiples of 2 are needed")
        #expect(
            problem(folder, try batch("flat", [zeros("images", [3, 8, 8])]), directory)
                == "tensor images has the shape [3, 8, 8], not [N, 3, H, W]")
        #expect(
            problem(folder, try batch("extra", [zeros("images", [1, 3, 8, 8]), zeros("nose", [1])]), directory)
                == "has the unknown tensor nose")
        let noisy = try batch("noisy", [zeros("images", [1, 3, 8, 8]), zeros("noise", [1, 3, 4, 8])])
        #expect(
            problem(folder, noisy, directory)
                == "tensor noise has the shape [1, 3, 4, 8], not the expected [1, 3, 4, 4]")
        #expect(
            problem(Fixtures.path("autoencoder/vq"), noisy, directory) == "has noise, for which a codebook has no use")
    }
}
