"""Prose of every script passes the default recipe: text is not thrown away for having no spaces, or words of one character."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest

from classifiers.labelled_text import find_set, read_records
from classifiers.scorers import ScoreSettings, make_scorers, score
from classifiers.text_batch import TextBatch
from pipeline.recipe import load_recipe
from transforms.apply_rules import apply_rules

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SCORERS = ("size", "gopher_quality", "gopher_repetition", "c4", "fineweb", "synthetic_faults", "language")
WORDS = {
    "zh": """
        河水 流向 大海 园丁 花园 早晨 打开 窗户 看见 远处 的 山 和 云 他 走 过 桥 买 了 一 本 旧 书 朋友 告诉 我们 秋天 城市 安静 市场 邻居 写 信 钟
        声 很 慢 苹果 树 下 孩子 唱歌
    """,
    "ja": """
        川 は 海 へ 流れる 庭師 が 朝 窓 を 開けて 遠く の 山 と 雲 見た 彼 橋 渡り 古い 本 買った 友人 手紙 書く 秋 町 静か 市場 隣人 時計 音 ゆっくり
        林檎 木 下 子供 歌う
    """,
    "ko": """
        강물은 바다로 흐르고 정원사는 아침에 창문을 열어 먼 산과 구름을 보았다 그는 다리를 건너 낡은 책을 샀다 친구가 가을 도시는 조용하다고
        시장에서 이웃이 편지를 쓴다 시계 소리가 느리다 사과나무 아래 아이들이
    """,
    "th": """
        แม่น้ำ ไหล ลง สู่ ทะเล คน สวน เปิด หน้าต่าง ตอนเช้า มองเห็น ภูเขา และ เมฆ ไกล เขา เดิน ข้าม สะพาน ซื้อ หนังสือ เก่า เพื่อน บอก เรา ว่า เมือง
        เงียบ ใน ฤดู ตลาด บ้าน จดหมาย นาฬิกา ช้า ต้นไม้ เด็ก ร้องเพลง
    """,
}


def generate(language: str, seed: int) -> str:
    """Forty sentences in five paragraphs of random words, written as the language is."""
    chance = random.Random(seed)
    space, stop = (" ", ". ") if language == "ko" else ("", " ") if language == "th" else ("", "。")
    sentences = [space.join(chance.choices(WORDS[language].split(), k=chance.randint(8, 14))) + stop for _ in range(40)]
    return "\n\n".join("".join(sentences[at : at + 8]).strip() for at in range(0, 40, 8))


def reasons(texts: list[str]) -> list[str]:
    columns = pa.table(score(make_scorers(ScoreSettings(scorers=SCORERS)), TextBatch.of(texts)))
    rules = [rule for rule in load_recipe().rules if rule.field in columns.schema.names]
    broken = apply_rules(columns, pa.array(["human"] * len(texts)), rules).rule
    return [rules[index].name if index >= 0 else "" for index in broken.tolist()]


@pytest.mark.parametrize("language", WORDS)
def test_generated_prose_passes_the_default_recipe(language):
    found = reasons([generate(language, seed) for seed in range(20)])
    assert set(found) == {""}, found


@pytest.mark.parametrize(("name", "least_kept"), [("human_zhwiki_2023", 0.85), ("human_kowiki_2023", 0.85)])
def test_articles_pass_the_default_recipe(name, least_kept):
    if not DATA.is_dir():
        pytest.skip("needs the labelled text in ../shared/data")
    texts = [record["text"] for record, _ in zip(read_records(find_set(str(DATA), name)), range(400), strict=False)]
    found = reasons(texts)
    kept = found.count("") / len(found)
    assert kept >= least_kept, json.dumps({reason: found.count(reason) for reason in set(found)})


def test_noise_does_not():
    assert set(reasons(["漢" * 400, "กขค" * 400, "ㅋ" * 400])) != {""}
    assert "" not in reasons(["中文。" * 300, "안녕 " * 200, "สวัสดี " * 200])
