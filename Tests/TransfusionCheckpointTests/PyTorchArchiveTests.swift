import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionCheckpoint

@Suite struct PyTorchArchiveTests {
    private func path(_ name: String) -> String { Fixtures.path("pytorch/" + name) }

    private func problem(_ path: String) -> String? {
        #expect(throws: CheckpointError.self) { try PyTorchArchive(path) }?.problem
    }

    private func floats(_ tensor: SourceTensor, pieceBytes: Int = .max) throws -> [Float] {
        var values = [Float](repeating: .nan, count: tensor.byteCount / tensor.type.byteCount)
        let wide = tensor.converted(to: .f32)
        try values.withUnsafeMutableBytes { all in
            for start in stride(from: 0, to: all.count, by: min(pieceBytes, max(all.count, 1))) {
                let range = start..<min(all.count, start + min(pieceBytes, all.count))
                try wide.read(range, UnsafeMutableRawBufferPointer(rebasing: all[range]))
            }
        }
        return values
    }

    @Test(arguments: ["plain.pth", "protocol4.pth", "many.pth", "lightning.ckpt", "mixed.pth", "old.pth"])
    func holdsWhatWasSaved(_ name: String) throws {
        let archive = try PyTorchArchive(path(name))
        let expected = Fixture.whole("pytorch/expected.safetensors").values.filter { $0.key.hasPrefix(name + "/") }
        #expect(Set(archive.tensors.keys.map { name + "/" + $0 }) == Set(expected.keys) && !expected.isEmpty)
        for (key, tensor) in archive.tensors {
            let values = try #require(expected[name + "/" + key])
            #expect(tensor.shape == values.shape || values.shape == [1], "\(key)")
            #expect(try floats(tensor) == values.floats, "\(key)")
            #expect(try floats(tensor, pieceBytes: 12) == values.floats, "\(key) in pieces")
        }
    }

    @Test func elementsOfOtherTypesMatterOnlyWhenTheyAreNeeded() throws {
        let file = try WeightFile(path("mixed.pth"))
        #expect(file.unreadable == ["mask": "BoolStorage", "double": "DoubleStorage"])
        let error = #expect(throws: CheckpointError.self) { try file.requireReadable("double") }
        #expect(
            error?.problem
                == "tensor double has elements of DoubleStorage, which are not read; store it as F32, BF16 or F16"
        )
    }

    @Test(arguments: [
        (
            "module.pth",
            "asks for torch.nn.modules.linear.Linear, which is not needed for tensors and is not run; a whole module "
                + "was saved: save its state_dict()"
        ),
        (
            "no_tensors.pth",
            "holds no dictionary of tensors, neither by itself nor as state_dict, model, module"
        ),
        ("evil.pth", "asks for posix.system, which is not needed for tensors and is not run"),
        ("compressed.pth", "has the compressed member plain/byteorder; PyTorch stores members as they are"),
        ("short_storage.pth", "tensor whole reaches beyond the 116 bytes of its storage"),
        ("missing_storage.pth", "has no member for the tensor turned"),
        ("unknown_instruction.pth", "has the pickle instruction INT at byte 2, which no tensor needs"),
        ("deep.pth", "holds no dictionary of tensors, neither by itself nor as state_dict, model, module"),
        ("expected.safetensors", "is no file of PyTorch: it does not begin like a zip file"),
    ])
    func whatIsNoDictionaryOfTensorsIsRefusedByName(_ name: String, _ expected: String) {
        #expect(problem(path(name)) == expected)
    }

    /// Whatever byte is wrong or wherever the file ends: an error, or other numbers, and never a crash.
    @Test(arguments: ["lightning.ckpt", "old.pth"]) func damageIsAnErrorAndNoCrash(_ name: String) throws {
        let directory = try TemporaryDirectory(), copy = directory.file("copy.pth")
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path(name))))
        for length in stride(from: 0, to: whole.count, by: 97) {
            try Data(whole[..<length]).write(to: URL(fileURLWithPath: copy))
            #expect(problem(copy) != nil)
        }
        var random = SystemRandomNumberGenerator()
        for position in stride(from: 0, to: whole.count, by: 13) {
            var bytes = whole
            bytes[position] ^= UInt8.random(in: 1...255, using: &random)
            try Data(bytes).write(to: URL(fileURLWithPath: copy))
            do {
                for tensor in try PyTorchArchive(copy).tensors.values { _ = try floats(tensor) }
            } catch is CheckpointError {
            } catch is FileSystemError {
            }
        }
    }
}
