import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

/// Parquet files that pyarrow wrote, with the rows that it reads from them (Tests/Fixtures/parquet.py).
@Suite struct ParquetFileTests {
    struct Written: Decodable, Sendable, CustomTestStringConvertible {
        let name: String
        let file: Data
        let columns: [Column]

        var testDescription: String { name }

        struct Column: Decodable, Sendable {
            let name: String
            let values: [Value]
        }
    }

    /// A value in the fixture: bytes and texts are "x" and hexadecimal digits.
    indirect enum Value: Decodable, Equatable, Sendable {
        case null
        case flag(Bool)
        case number(Double)
        case integer(Int64)
        case bytes([UInt8])
        case list([Value])
        case members([Value])

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if value.decodeNil() {
                self = .null
            } else if let flag = try? value.decode(Bool.self) {
                self = .flag(flag)
            } else if let integer = try? value.decode(Int64.self) {
                self = .integer(integer)
            } else if let number = try? value.decode(Double.self) {
                self = .number(number)
            } else if let text = try? value.decode(String.self) {
                let digits = Array(text.dropFirst())
                self = .bytes(
                    stride(from: 0, to: digits.count, by: 2).compactMap {
                        UInt8(String(digits[$0...$0 + 1]), radix: 16)
                    })
            } else if let list = try? value.decode([Value].self) {
                self = .list(list)
            } else {
                self = .members(try value.decode([String: [Value]].self)["members"] ?? [])
            }
        }

        init(_ value: ParquetValue) {
            switch value {
            case .null: self = .null
            case .flag(let flag): self = .flag(flag)
            case .integer(let integer): self = .integer(integer)
            case .number(let number): self = .number(number)
            case .bytes(let bytes): self = .bytes(Array(bytes))
            case .list(let list): self = .list(list.map { Value($0) })
            case .structure(let members): self = .members(members.map { Value($0) })
            }
        }
    }

    static let files: [Written] = {
        guard let data = FileManager.default.contents(atPath: Fixtures.path("parquet.json")) else { return [] }
        let decoder = JSONDecoder()
        return (try? decoder.decode([Written].self, from: data)) ?? []
    }()
    static let refused: Set = ["brotli", "split bytes", "deep"]

    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func open(_ bytes: Data) throws -> ParquetFile {
        let path = directory.file("some.parquet")
        try bytes.write(to: URL(filePath: path))
        return try ParquetFile(path)
    }

    private func open(_ name: String) throws -> ParquetFile {
        try open(try #require(Self.files.first { $0.name == name }).file)
    }

    @Test func fixturesAreThere() {
        #expect(Self.files.count == 21)
        #expect(Self.refused.isSubset(of: Set(Self.files.map(\.name))))
    }

    @Test(arguments: files.filter { !refused.contains($0.name) }) func agreesWithPyarrow(_ written: Written) throws {
        let file = try open(written.file)
        #expect(file.fieldNames == written.columns.map(\.name))
        for column in written.columns {
            #expect(file.rowCount == column.values.count)
            var rows = try file.rows([column.name])
            var values: [Value] = []
            while let row = try rows.next() { values.append(Value(row[0])) }
            #expect(values == column.values, "\(column.name)")
            #expect(try rows.next() == nil)
        }
        // All at once, in another order.
        let columns = Array(written.columns.reversed())
        var rows = try file.rows(columns.map(\.name))
        for number in 0..<file.rowCount {
            #expect(try rows.next()?.map { Value($0) } == columns.map { $0.values[number] })
        }
    }

    @Test func membersOfAStructureAreKnown() throws {
        let file = try open("plain")
        #expect(file.members(of: "image") == ["bytes", "path"])
        #expect(file.members(of: "text") == nil)
    }

    @Test(arguments: [
        ("brotli", "text", "column text: the compression BROTLI is not read; write it with SNAPPY"),
        ("split bytes", "float", "column float: a page in the encoding BYTE_STREAM_SPLIT is not read"),
        ("deep", "lists", "column lists: it is a list of more than single values"),
        ("deep", "pairs", "column pairs: it is a list of more than single values"),
        ("deep", "nested", "column nested: it is a structure of more than single values"),
        ("deep", "nothing", "has no column nothing; it has text, lists, pairs, nested"),
    ])
    func whatIsNotReadIsRefusedByName(_ name: String, _ column: String, _ problem: String) throws {
        let file = try open(name)
        #expect {
            var rows = try file.rows([column])
            while try rows.next() != nil {}
        } throws: {
            "\($0)".hasPrefix("\(file.path): \(problem)")
        }
    }

    @Test func whatBesidesIsNotReadDoesNotDisturb() throws {
        var rows = try open("deep").rows(["text"])
        #expect(try rows.next() == [.bytes(Array("a".utf8)[...])])
    }

    @Test func filesThatAreNoneAreRefused() throws {
        let good = try #require(Self.files.first { $0.name == "plain" }).file
        let damaged: Data = good.dropLast(8) + Data([0xFF, 0xFF, 0xFF, 0x7F]) + good.suffix(4)
        let encrypted: Data = good.dropLast(4) + Data("PARE".utf8)
        let cases: [(Data, String)] = [
            (Data(), "is no Parquet file"), (Data("{\"text\": \"a\"} and more".utf8), "is no Parquet file"),
            (good.dropLast(), "its end is missing"), (good.prefix(1000), "its end is missing"),
            (damaged, "has damaged metadata"), (encrypted, "is encrypted"),
        ]
        for (bytes, problem) in cases {
            #expect { try open(Data(bytes)) } throws: { "\($0)".contains(problem) }
        }
    }

    @Test func aFlippedBitIsFoundByTheChecksum() throws {
        var bytes = try #require(Self.files.first { $0.name == "checksums" }).file
        let place = try #require(bytes.firstRange(of: Data("red circle".utf8))).lowerBound
        bytes[place] ^= 1
        let file = try open(bytes)
        #expect {
            for column in file.fieldNames {
                var rows = try file.rows([column])
                while try rows.next() != nil {}
            }
        } throws: {
            "\($0)".contains("does not match its checksum")
        }
    }

    /// Names come from files, and go to terminals and logs.
    @Test func errorsAreOneLineWhateverAColumnIsCalled() {
        let error = DataError("a.parquet", "column te\nxt\u{1B}[2J ü: has \u{85}")
        #expect(error.description == "a.parquet: column te\\nxt\\u{1B}[2J ü: has \\u{0085}")
    }

    /// Random damage: no crash, no hang, and every error names the file. `TRANSFUSION_FUZZ=N` asks for N rounds.
    @Test func damageIsRefusedOrHarmless() throws {
        let rounds = ProcessInfo.processInfo.environment["TRANSFUSION_FUZZ"].flatMap { Int($0) } ?? 300
        let random = Philox(seed: 7, purpose: .order)
        var refused = 0
        for round in 0..<rounds {
            var bytes = [UInt8](Self.files[round % Self.files.count].file)
            for change in 0..<(1 + round % 5) {
                func draw(_ bound: Int, _ step: Int) -> Int {
                    random.integer(below: bound, at: (round * 8 + change) * 8 + step)
                }
                // As often in the metadata at the end as in all of the file.
                let place = draw(2, 0) == 0 ? draw(bytes.count, 1) : bytes.count - 1 - draw(min(bytes.count, 1500), 1)
                switch draw(4, 2) {
                case 0: bytes[place] = UInt8(draw(256, 3))
                case 1: bytes[place] ^= 1 << UInt8(draw(8, 3))
                case 2: bytes.removeSubrange(place..<min(bytes.count, place + 1 + draw(20, 3)))
                default: bytes[place] = [0, 0xFF, 0x7F, 0x80][draw(4, 3)]
                }
                if bytes.isEmpty { bytes = [0] }
            }
            do {
                let file = try open(Data(bytes))
                for column in file.fieldNames {
                    do {
                        // A damaged file may claim any number of rows.
                        var rows = try file.rows([column])
                        while rows.count < 5000, try rows.next() != nil {}
                    } catch {
                        #expect(error.description.hasPrefix(file.path) && !error.description.contains("\n"))
                        refused += 1
                    }
                }
            } catch is DataError {
                refused += 1
            }
        }
        #expect(refused > rounds / 4)
    }
}
