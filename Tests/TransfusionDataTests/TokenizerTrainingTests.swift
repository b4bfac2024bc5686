import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionData

@Suite struct TokenizerTrainingTests {
    func train(_ texts: [String], pieces: Int = 4096) throws -> TokenizerTraining {
        try TokenizerTraining(on: TokenizerCorpus(texts), pieces: pieces)
    }

    /// The pieces that a model learned, without those that every model has.
    func learned(_ training: TokenizerTraining) -> Set<String> {
        let tokenizer = training.tokenizer
        return Set((259..<training.pieceCount).compactMap { tokenizer.piece(Int32($0)) })
    }

    @Test func trainedModelLosesNothingAndIsTheSameEachTime() throws {
        let corpus = ["red circle", "blue square in 1999", "the largest of all circles", "a naïve heart"]
        let training = try train(corpus, pieces: 300)
        let trained = training.tokenizer
        #expect(training.pieceCount == 300)
        #expect(try train(corpus, pieces: 300).tokenizer.digest == trained.digest)
        #expect(try train(corpus.reversed(), pieces: 300).tokenizer.digest == trained.digest)
        for text in corpus + ["  two  spaces ", "日本 🔴", "line\nbreak"] {
            #expect(try trained.decode(trained.encode(text)) == text)
        }
        // Digits are one piece each.
        #expect(try trained.encode("1999").count == 5)
    }

    @Test func aSmallCorpusGivesASmallerModel() throws {
        let training = try train((0..<3000).map { "text number \($0) of three thousand" })
        #expect((300..<4096).contains(training.pieceCount))
        #expect(
            training.notes == [
                "the texts hold no more than \(training.pieceCount) different pieces; 4096 were asked for"
            ])
        #expect(learned(training).isSuperset(of: ["▁text", "▁number", "▁of", "▁three", "▁thousand"]))
    }

    @Test func impossibleTrainingIsRefused() {
        for pieces in [-1, 259, 1_000_001, .max] {
            #expect { try train(["red"], pieces: pieces) } throws: { ($0 as? DataError)?.isWrongUse == true }
        }
        for texts in [[], ["", " \n\t"], ["\u{0}\u{1}\u{2585}  \u{2581}\n  "]] {
            #expect { try train(texts) } throws: {
                "\($0)" == "corpus: no text in it to train on; give a file with texts"
            }
        }
    }

    /// libsentencepiece's trainer writes out of bounds, or ends the process, on each of these as it is.
    @Test(arguments: [
        String(repeating: "=", count: 32_768), String(repeating: "aGVsbG8gd29ybGQ", count: 8000),
        String(repeating: "這是沒有空格的中文", count: 4000), String(repeating: "letters\nand\nlines\n", count: 4000),
        String(repeating: "🔴", count: 70_000), String(repeating: " ", count: 100_000) + "end",
    ])
    func runsWithoutASpaceAreCut(_ run: String) throws {
        // Words around it, often enough that their letters have pieces.
        let around = [String](repeating: "a word before it", count: 500)
        let training = try train(around + [run])
        let isCut = !run.contains("\n")
        #expect(training.notes.contains { $0.hasPrefix("one run of more than 1024 letters") } == isCut)
        #expect(learned(training).contains("▁before"))
        #expect(try training.tokenizer.decode(training.tokenizer.encode(run)) == run)
    }

    /// Everything that has broken trainers: NUL, what the library keeps for itself, its own tokens, controls, half and
    /// odd characters, lengths around its limits; put together at random.
    @Test func noCorpusEndsTheProcess() throws {
        let parts =
            [
                "\0", "\u{2581}", "\u{2585}", "<s>", "</s>", "<unk>", "<0x41>", "<0x0", "\t", "\r\n", "\n", "\r", " ",
                "  ",
                "\u{FEFF}", "\u{FFFD}", "\u{FFFF}", "\u{10FFFF}", "\u{E000}", "\u{2028}", "\u{85}", "\u{301}",
                "\u{200D}",
                "a", "é", "0", "１", "中", "🏳️‍🌈", "word", ">", "<",
            ] + [15, 1023, 1024, 1025, 32_767, 65_536].map { String(repeating: "x", count: $0) }
        let random = Philox(seed: 1, purpose: .order)
        var position = 0
        func draw(_ bound: Int) -> Int {
            defer { position += 1 }
            return random.integer(below: bound, at: position)
        }
        for _ in 0..<150 {
            let texts = (0..<1 + draw(4)).map { _ in (0..<draw(12)).map { _ in parts[draw(parts.count)] }.joined() }
            let pieces = [260, 261, 300, 4096][draw(4)]
            do {
                let training = try train(texts, pieces: pieces)
                let tokenizer = training.tokenizer
                #expect((260...pieces).contains(training.pieceCount))
                for text in texts where !text.unicodeScalars.contains("\u{2581}") {
                    let ids = try tokenizer.encode(text)
                    let decoded = try tokenizer.decode(ids)
                    #expect(Array(decoded.utf8) == Array(text.utf8))
                }
            } catch let error as DataError {
                #expect("\(error)" == "corpus: no text in it to train on; give a file with texts")
            }
        }
    }

    @Test func manyCharactersLeaveRoomForPieces() throws {
        let characters = (0x4E00..<0x5200).compactMap { Unicode.Scalar($0).map { String(Character($0)) } }
        let training = try train(characters + [String](repeating: "一丁 一丁", count: 100), pieces: 359)
        // Half of the hundred are characters, the other half is free for what they form.
        #expect(learned(training).count { $0.unicodeScalars.count == 1 } == 50)
        #expect(learned(training).contains("▁一丁"))
        #expect(training.notes.first == "975 rare characters have no piece and are written in bytes")
    }

    @Test func wordsAreCutWhereTheTrainerCutsThem() {
        func words(_ text: String) -> [String] {
            var text = text
            return text.withUTF8 { utf8 in
                var scanner = TrainingWordScanner(utf8)
                var words: [String] = []
                scanner.forEach { words.append(String(decoding: $0, as: UTF8.self)) }
                return words
            }
        }
        // The first space of each word is left to the trainer, which puts one before all that it is given.
        #expect(words("a bc  d ") == ["a", "bc", " d"])
        #expect(words(" a  ") == [" a", " "])
        #expect(words("\u{2581}é\u{2581}🔴") == [" é", "🔴"])
        // What follows a control character begins no word.
        #expect(words("a\tb\r\n c\u{85}\u{2028}d\u{2585}e") == ["a", "\0b", "c", "\0d", "\0e"])
        #expect(words("   \n") == ["   "])
        #expect(words("\0") == [] && words("") == [] && words(" ") == [" "])
        let long = words(String(repeating: "é", count: 3000) + " f")
        #expect(long.map { $0.unicodeScalars.count } == [1023, 1025, 954, 1])
        #expect(long.dropFirst().first?.hasPrefix("\0é") == true)
    }

    @Test func aLineIsOneTextWhateverItsEndAndLength() throws {
        let directory = try TemporaryDirectory()
        let file = directory.file("text.txt")
        // Above libsentencepiece's own limit on a line, and with a letter across the border of what is read at once.
        let long = String(repeating: "длинная строка ", count: 150_000)
        let short = String(repeating: "second line\r\n", count: 5000)
        try Files.write(Array("\u{FEFF}first line\r\n\r\n  \n\(short)\(long)\nsecond".utf8), to: file)
        var corpus = TokenizerCorpus()
        try corpus.addLines(of: file)
        #expect(corpus.textCount == 5003)
        let training = try TokenizerTraining(on: corpus, pieces: 400)
        #expect(!training.notes.contains { $0.contains("MiB") || $0.contains("cut") })
        #expect(learned(training).isSuperset(of: ["▁second", "▁line", "▁строка", "▁длинная"]))
        #expect(!learned(training).contains { $0.contains { $0.isNewline || $0 == "\u{FEFF}" } })
        try Files.write([0x61, 0x0A, 0xC3, 0x28], to: file)
        corpus = TokenizerCorpus()
        try corpus.addLines(of: file)
        #expect { try TokenizerTraining(on: corpus, pieces: 400) } throws: { "\($0)" == "\(file):2: is not UTF-8 text" }
    }

    @Test func aLargeCorpusIsSampled() throws {
        let directory = try TemporaryDirectory()
        let file = directory.file("text.txt")
        let lines = (0..<40_000).map { "line \($0) of many, of which some are chosen" }
        try Files.write(Array(lines.joined(separator: "\n").utf8), to: file)
        let corpus = try sample(of: file)
        #expect(corpus.isSample && corpus.textCount == 40_001)
        let counts = try corpus.wordCounts()
        let occurrences = counts.occurrences.max() ?? 0
        // "of" occurs twice in a line, which costs its bytes and 64.
        #expect((18_000...20_000).contains(occurrences))
        let training = try TokenizerTraining(on: corpus, pieces: 300)
        #expect(training.notes.contains("the tokenizer learned from 1 MiB of the texts, chosen at random"))
        let again = try TokenizerTraining(on: sample(of: file), pieces: 300)
        #expect(again.tokenizer.digest == training.tokenizer.digest)
    }

    private func sample(of file: String) throws -> TokenizerCorpus {
        var corpus = TokenizerCorpus(byteLimit: 1 << 20)
        try corpus.addLines(of: file)
        corpus.add(["another source"])
        return corpus
    }

    @Test func aChoiceIsBoundedAndDoesNotDependOnTheOrder() {
        let costs = (0..<1000).map { 1 + $0 * 7919 % 100 }
        func choose(_ order: some Sequence<Int>, limit: Int) -> Set<Int> {
            var choice = BoundedChoice<Int>(limit: limit)
            for number in order { choice.offer(number, cost: costs[number], source: 3, number: number) }
            #expect(choice.count == Set(choice.items).count)
            return Set(choice.items)
        }
        for limit in [100, 5000, 20_000] {
            let chosen = choose(0..<1000, limit: limit)
            let cost = chosen.reduce(0) { $0 + costs[$1] }
            #expect((limit - 100...limit).contains(cost))
            #expect(choose((0..<1000).reversed(), limit: limit) == chosen)
            #expect(choose((0..<1000).map { $0 * 337 % 1000 }, limit: limit) == chosen)
        }
        #expect(choose(0..<1000, limit: .max) == Set(0..<1000))
        // Each place has the same chance: about half of the first half and half of the second.
        let half = choose(0..<1000, limit: costs.reduce(0, +) / 2)
        #expect((200...300).contains(half.count { $0 < 500 }) && (200...300).contains(half.count { $0 >= 500 }))
    }
}
